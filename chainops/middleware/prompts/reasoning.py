"""Reasoning kept apart from the answer, in whole texts and in streams."""

from __future__ import annotations

from chainops.middleware.prompts.content import Reasoning

__all__ = ["ReasoningSplitter", "split_reasoning"]


class ReasoningSplitter:
    """Tells reasoning from answer while the text comes in. No part of a mark leaves as text, wherever chunks end.

    Reasoning stands between the first opening mark and the next closing one; with an empty opening mark it begins at
    once. Text before it is answer. A text without marks is all answer, except with an empty opening mark, where it is
    all reasoning; so is what follows an opening mark that is never closed. White space around the reasoning is dropped.

    Attributes:
        state: "missing" before there was any reasoning, "open" inside it, "closed" after it.
    """

    def __init__(self, marks: Reasoning) -> None:
        self._marks = marks
        self._held = ""
        self._fresh = True  # nothing but white space since the last mark, which is dropped
        self.state = "missing" if marks.open else "open"

    def feed(self, text: str) -> tuple[str, str]:
        """What has become certain with ``text``: answer, reasoning."""
        self._held += text
        answer = reasoning = ""
        while self.state != "closed":
            inside = self.state == "open"
            before, mark, after = self._held.partition(self._marks.close if inside else self._marks.open)
            if not mark:
                break
            if inside:
                reasoning += self._without_space(before, end=True)
            else:
                answer += before
            self.state, self._held, self._fresh = "closed" if inside else "open", after, True
        sure = self._held[: len(self._held) - self._keep()]
        self._held = self._held[len(sure) :]
        if self.state == "open":
            return answer, reasoning + self._without_space(sure, end=False)
        return answer + (self._without_space(sure, end=False) if self.state == "closed" else sure), reasoning

    def finish(self) -> tuple[str, str]:
        """What is left at the end of the text."""
        held, self._held = self._held, ""
        if self.state == "open":
            return "", self._without_space(held, end=True)
        return (self._without_space(held, end=False) if self.state == "closed" else held), ""

    def _keep(self) -> int:
        """How many characters at the end may be the beginning of a mark, or white space before the closing one."""
        if self.state == "closed":
            return 0
        mark = self._marks.close if self.state == "open" else self._marks.open
        begun = next((n for n in range(min(len(mark) - 1, len(self._held)), 0, -1) if self._held.endswith(mark[:n])), 0)
        if self.state == "open":
            rest = self._held[: len(self._held) - begun]
            begun += len(rest) - len(rest.rstrip())
        return begun

    def _without_space(self, text: str, *, end: bool) -> str:
        if self._fresh:
            text = text.lstrip()
            self._fresh = not text
        return text.rstrip() if end else text


def split_reasoning(text: str, marks: Reasoning) -> tuple[str, str, str]:
    """Answer, reasoning, and how it ended: "closed", "open" (never closed) or "missing".

    >>> split_reasoning("<thinking>3 x 4</thinking> 12", Reasoning())
    ('12', '3 x 4', 'closed')
    """
    splitter = ReasoningSplitter(marks)
    first, rest = splitter.feed(text), splitter.finish()
    return first[0] + rest[0], first[1] + rest[1], splitter.state
