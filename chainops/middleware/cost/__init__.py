"""What each model call cost, with the version of the price: :class:`Cost`."""

from chainops.middleware.cost.middleware import Cost

__all__ = ["Cost"]
