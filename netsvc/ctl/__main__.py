"""``python -m netsvc.ctl``."""

import sys

from netsvc.ctl.command import main

sys.exit(main())
