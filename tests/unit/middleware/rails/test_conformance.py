"""Rails are a middleware like any other: whatever they are set to."""

from typing import Any

from chainops.middleware.rails import ALLOW, DenyList, PatternRail, Rail, Rails, Subject, Verdict
from chainops.testing import MiddlewareConformance


class Slow(Rail):
    """Waits, and finds nothing."""

    waits = True

    async def check(self, subject: Subject) -> Verdict:
        import asyncio

        await asyncio.sleep(0)
        return ALLOW


class Silent:
    """A dialog that has an answer to nothing."""

    def describe(self) -> dict[str, Any]:
        return {}

    async def answer(self, talk: Any) -> Any:
        import asyncio

        await asyncio.sleep(0)
        return None, []


class TestRailsWithADialog(MiddlewareConformance):
    def make(self) -> Any:
        return Rails([DenyList("words", ["xyzzy"])], dialog=Silent())  # type: ignore[arg-type]


class TestRailsThatFindNothing(MiddlewareConformance):
    def make(self) -> Any:
        return Rails([DenyList("words", ["xyzzy"]), Slow("one"), Slow("two")])


class TestRailsThatRedact(MiddlewareConformance):
    def make(self) -> Any:
        return Rails([PatternRail("numbers", {"word": r"three|count"}, policy="redact")])


class TestRailsThatFlagEverything(MiddlewareConformance):
    def make(self) -> Any:
        return Rails([PatternRail("all", [r"\w+"], policy="flag")])
