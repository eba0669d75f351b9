"""Rails: what people, models, tools and documents may say, judged at every boundary of a graph."""

from chainops.middleware.rails.judge import Ruling
from chainops.middleware.rails.middleware import Rails
from chainops.middleware.rails.patterns import DenyList, PatternRail
from chainops.middleware.rails.rail import Rail, Subject
from chainops.middleware.rails.verdict import ALLOW, RailBlocked, Verdict

__all__ = ["ALLOW", "DenyList", "PatternRail", "Rail", "RailBlocked", "Rails", "Ruling", "Subject", "Verdict"]
