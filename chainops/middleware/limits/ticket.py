"""The right of one call to run, and what it gives back."""

from __future__ import annotations

from chainops.middleware.limits.bucket import Bucket
from chainops.middleware.limits.shared_bucket import SharedBucket
from chainops.middleware.limits.window import Window

__all__ = ["Ticket", "enter"]


class Ticket:
    """Returned by :func:`enter`; :meth:`leave` must be called once."""

    __slots__ = ("bucket", "owner", "tokens", "waited_s")

    def __init__(
        self, bucket: Bucket | SharedBucket | Window, tokens: float, waited_s: float, owner: str | None
    ) -> None:
        self.bucket, self.tokens, self.waited_s = bucket, tokens, waited_s
        self.owner = owner  # None: it has no place of its own

    def leave(self, used: tuple[float, float] | None, held_s: float) -> None:
        """Settle and free the place. ``used``: requests and tokens; None: as reserved."""
        if used is not None and (used[0] != 1.0 or used[1] != self.tokens):
            self.bucket.settle(requests=1.0 - used[0], tokens=self.tokens - used[1])
        if self.owner is None:
            return
        if isinstance(self.bucket, SharedBucket):
            self.bucket.release(self.owner)
        else:
            self.bucket.release(held_s)


async def enter(
    bucket: Bucket | SharedBucket | Window, tokens: float, priority: float, patience: float, *, inside: bool
) -> Ticket:
    """Wait until the call may start. ``inside``: a call around it has its place. Raises ``LimitExceeded``."""
    if inside:
        bucket.count(tokens)
        return Ticket(bucket, tokens, 0.0, None)
    if isinstance(bucket, SharedBucket):
        waited, owner = await bucket.enter(tokens, priority, patience)
        return Ticket(bucket, tokens, waited, owner)
    return Ticket(bucket, tokens, await bucket.enter(tokens, priority, patience), "")
