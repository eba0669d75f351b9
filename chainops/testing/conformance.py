"""The checks of :mod:`chainops.testing.checks` as one call and as a class of pytest tests.

Subclass :class:`MiddlewareConformance` in a test module, or call :func:`check_middleware` from a script.
"""

from __future__ import annotations

import asyncio

from chainops.errors import is_control_flow
from chainops.pipeline import Middleware
from chainops.testing import checks
from chainops.testing.checks import CHECKS, PATIENCE
from chainops.testing.graphs import Make

__all__ = ["CHECKS", "MiddlewareConformance", "check_middleware"]


async def check_middleware(make: Make) -> dict[str, str]:
    """Run every check on fresh instances from ``make``; what failed, by the name of the check. Empty: all passed."""
    failed: dict[str, str] = {}
    for name, check in CHECKS.items():
        try:
            await asyncio.wait_for(check(make), 4 * PATIENCE)
        except Exception as error:  # noqa: BLE001 - reported
            assert not is_control_flow(error), "control flow never leaves a graph"
            failed[name] = f"{type(error).__name__}: {error}"
    return failed


class MiddlewareConformance:
    """Subclass in a test module and return your middleware from :meth:`make`; pytest runs every check.

    A check may be switched off only in the open: override it with ``pytest.mark.xfail(reason=...)``.
    Needs pytest-asyncio (``asyncio_mode = "auto"``).
    """

    def make(self) -> Middleware:
        """A fresh instance of the middleware under test."""
        raise NotImplementedError("return your middleware from make()")

    async def test_interrupts_reach_the_human(self) -> None:
        await checks.interrupts_reach_the_human(self.make)

    async def test_errors_arrive_as_they_are(self) -> None:
        await checks.errors_arrive_as_they_are(self.make)

    async def test_a_stream_adds_up_to_the_result(self) -> None:
        await checks.a_stream_adds_up_to_the_result(self.make)

    async def test_concurrent_calls_do_not_mix(self) -> None:
        await checks.concurrent_calls_do_not_mix(self.make)

    async def test_cancelling_a_run_stops_it(self) -> None:
        await checks.cancelling_a_run_stops_it(self.make)

    async def test_no_task_is_left_behind(self) -> None:
        await checks.no_task_is_left_behind(self.make)

    async def test_sync_and_async_agree(self) -> None:
        await checks.sync_and_async_agree(self.make)

    async def test_two_event_loops_can_share_it(self) -> None:
        await checks.two_event_loops_can_share_it(self.make)
