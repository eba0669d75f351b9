"""What a plugin is, and how an installed one is found. Installed is not enabled: settings name what runs.

>>> from chainops.plugin import Plugin
>>> Plugin(name="quiet").build({})
[]
"""

from chainops.plugin.contract import API_VERSION, Plugin
from chainops.plugin.find import GROUP, find_plugin, installed_plugins, origin_of
from chainops.plugin.trust import package_hash

__all__ = ["API_VERSION", "GROUP", "Plugin", "find_plugin", "installed_plugins", "origin_of", "package_hash"]
