"""One compiled NeMo flow as a rail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chainops.middleware.rails.rail import Rail, Subject
from chainops.middleware.rails.verdict import ALLOW, Verdict

__all__ = ["NemoRail"]

PLAIN = (str, int, float, bool, list, type(None))


class NemoRail(Rail):
    """A flow of a NeMo folder.

    Args:
        compiled: what NeMo's ``compile_rail`` gave.
        asks: it calls a model, so that it gets a span, a timeout, and is run beside others.
        rewrites: it can rewrite the text, so it runs in order.
        clean: says of a text that the flow would allow it; only the others go through NeMo.
    """

    def __init__(
        self,
        name: str,
        compiled: Any,
        *,
        output: bool,
        asks: bool,
        rewrites: bool,
        clean: Callable[[str], bool] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, **options)
        self.compiled, self.output, self.clean = compiled, output, clean
        self.waits = asks  # type: ignore[misc]  # of this rail, not of the class
        self.rewrites = rewrites  # type: ignore[misc]
        self.local = not asks  # type: ignore[misc]

    async def check(self, subject: Subject) -> Verdict:
        """What the flow decides, with its model calls in the details."""
        if self.clean is not None and self.clean(subject.text):
            return ALLOW
        talk = [{"role": role, "content": text} for role, text in subject.talk if role in ("user", "assistant")]
        if self.output and subject.place in ("output", "tool_call"):
            if not any(m["role"] == "user" for m in talk):
                talk.append({"role": "user", "content": ""})
            done = await self.compiled.execute(talk, subject.text)
        else:
            done = await self.compiled.execute([*talk, {"role": "user", "content": subject.text}])
        return _verdict(self.name, done)


def _verdict(name: str, done: Any) -> Verdict:
    outcome = done.outcome
    decision = str(getattr(outcome.decision, "value", outcome.decision))
    details = _details(done)
    if outcome.failed:
        return Verdict("block", str(outcome.reason or "it failed"), "error", failed=True, details=details)
    if decision == "allow":
        return Verdict(details=details) if details else ALLOW
    found = _plain(outcome.metadata)
    reason = str(outcome.reason or ", ".join(map(str, found.get("detections", []))) or "refused")
    category = str(next(iter(found.get("policy_violations") or []), name))
    if decision == "transform":
        text = next(iter(outcome.transform_text.values()), None)
        return Verdict("rewrite", reason, category, text=text, details=details)
    return Verdict("block", reason, category, details=details)


def _details(done: Any) -> Mapping[str, Any]:
    calls = [
        {
            "task": call.task,
            "ms": round((call.duration or 0.0) * 1e3, 1),
            "tokens": call.total_tokens or 0,
            "from_cache": bool(getattr(call, "from_cache", False)),
            "answer": call.completion,
        }
        for call in done.llm_calls
    ]
    return {"model_calls": calls} if calls else {}


def _plain(metadata: Any) -> dict[str, Any]:
    return {key: value for key, value in dict(metadata or {}).items() if key != "text" and isinstance(value, PLAIN)}
