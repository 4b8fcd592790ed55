"""Where protocol plugins are dropped in (floor 6): ``getPlugins(IProtocolMaker, netsvc.plugins)`` finds them."""

from twisted.plugin import pluginPackagePaths

__path__.extend(pluginPackagePaths(__name__))  # type: ignore[no-untyped-call] # Twisted's has no types
__all__: list[str] = []
