"""Jailbreak and injection defence, offline."""

from chainops.middleware.rails.jailbreak.rail import Jailbreak
from chainops.middleware.rails.jailbreak.views import views

__all__ = ["Jailbreak", "views"]
