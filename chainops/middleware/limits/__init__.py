"""Limits: how many calls, tokens and calls at once a user, tenant, node or model gets; waiting in order, or refused."""

from chainops.middleware.limits.middleware import Limits
from chainops.middleware.limits.rules import LimitRule
from chainops.middleware.limits.shared import Admission, LimitFile, LimitStore

__all__ = ["Admission", "LimitFile", "LimitRule", "LimitStore", "Limits"]
