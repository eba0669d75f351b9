"""An application from settings."""

from chainops.app.app import App

__all__ = ["App"]
