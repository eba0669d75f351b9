"""Route: which deployment answers a model call, by rules, difficulty, budget and health, and which one comes next."""

from chainops.middleware.route.difficulty import Difficulty, difficulty
from chainops.middleware.route.middleware import Route, RouteFailed

__all__ = ["Difficulty", "Route", "RouteFailed", "difficulty"]
