"""What something will cost: a plan is a TOML file with corpora, prices and lines; what comes of it is exact."""

from chainops.costing.plan.compute import LineResult, PlanResult, compute
from chainops.costing.plan.file import Plan, read_plan, shipped_plans

__all__ = ["LineResult", "Plan", "PlanResult", "compute", "read_plan", "shipped_plans"]
