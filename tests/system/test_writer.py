"""Much small mail at once through the service and its writer process: every order arrives whole."""

import threading

from tests.system.service import Service
from tests.system.wire import Smtp, queue_id

CLIENTS, MESSAGES = 30, 6
BODY = b"Subject: hello\r\n\r\n" + (b"x" * 70 + b"\r\n") * 850
"""Just small enough for the writer process; a few of them are more than its pipe holds."""


def test_much_small_mail_at_once_is_taken_whole(tmp_path):
    service = Service(tmp_path).start()
    replies = []
    together = threading.Barrier(CLIENTS)

    def client(n):
        with Smtp(service.ports["smtp"]) as smtp:
            for round_ in range(MESSAGES):
                smtp.begin("ann@example.net", [("alice", "bob")[n % 2] + "@example.org"], ehlo=not round_)
                together.wait(30)
                replies.append(smtp.content(BODY))

    threads = [threading.Thread(target=client, args=(n,)) for n in range(CLIENTS)]
    try:
        for each in threads:
            each.start()
        for each in threads:
            each.join(60)
        assert len({queue_id(reply) for reply in replies}) == CLIENTS * MESSAGES
        assert not service.events("store.writer_died")
        kept = [*service.export("alice@example.org").values(), *service.export("bob@example.org").values()]
        assert len(kept) == CLIENTS * MESSAGES
        assert all(each.endswith(BODY) for each in kept)
    finally:
        service.close()
