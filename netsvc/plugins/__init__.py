"""Where protocol plugins are dropped in (floor 6): ``getPlugins(IProtocolMaker, netsvc.plugins)`` finds them."""

from twisted.plugin import pluginPackagePaths

__path__.extend(pluginPackagePaths(__name__))
__all__: list[str] = []
