"""Rails: what people, models, tools and documents may say, judged at every boundary of a graph."""

from chainops.middleware.rails.canary import Canary
from chainops.middleware.rails.egress import Egress
from chainops.middleware.rails.judge import Ruling
from chainops.middleware.rails.middleware import Rails
from chainops.middleware.rails.patterns import DenyList, PatternRail
from chainops.middleware.rails.rail import Rail, Subject
from chainops.middleware.rails.self_check import SelfCheck
from chainops.middleware.rails.strikes import Strikes
from chainops.middleware.rails.verdict import ALLOW, RailBlocked, Verdict

__all__ = [
    "ALLOW",
    "Canary",
    "DenyList",
    "Egress",
    "PatternRail",
    "Rail",
    "RailBlocked",
    "Rails",
    "Ruling",
    "SelfCheck",
    "Strikes",
    "Subject",
    "Verdict",
]
