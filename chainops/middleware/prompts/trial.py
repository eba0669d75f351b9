"""The tests that a prompt brings along: what its text must have, and must not."""

from __future__ import annotations

from dataclasses import dataclass

from chainops.errors import CallError
from chainops.middleware.prompts.template import CompiledPrompt

__all__ = ["Outcome", "run_tests"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a test went: ``problems`` is empty when it passed."""

    name: str
    problems: tuple[str, ...]


def run_tests(prompt: CompiledPrompt) -> list[Outcome]:
    """Render the prompt for each of its tests and look at the text. No model is asked."""
    outcomes = []
    for test in prompt.content.tests:
        try:
            text = prompt.render(test.inputs).text
            problems = [f"lacks {part!r}" for part in test.contains if part not in text]
            problems += [f"has {part!r}" for part in test.lacks if part in text]
        except CallError as error:
            problems = [error.message]
        outcomes.append(Outcome(test.name, tuple(problems)))
    return outcomes
