"""The tests that a prompt brings along: what its text must have, and what a model must answer to it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from chainops.errors import CallError
from chainops.middleware.prompts.answering import output_problems
from chainops.middleware.prompts.content import AnswerTest, Content, PromptTest
from chainops.middleware.prompts.reasoning import split_reasoning
from chainops.middleware.prompts.slots import AnyPrompt
from chainops.middleware.prompts.template import Choice, Rendered

__all__ = ["Ask", "Choose", "Outcome", "Said", "ask_tests", "judge", "run_tests"]


@dataclass(frozen=True, slots=True)
class Said:
    """What a model said: all of its text, and how many tokens that was (None: it does not say)."""

    text: str
    tokens: int | None = None


Ask = Callable[[Rendered, Content], Awaitable[Said]]
"""Asks a model with a rendered prompt, and the settings of its content."""

Choose = Callable[[AnyPrompt, dict[str, object]], Awaitable[Choice]]
"""Chooses the examples of a prompt that does so by likeness."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a test went: ``problems`` is empty when it passed.

    ``answer`` is what the model said, without its reasoning; None where no model was asked. ``checks`` is how many
    things were looked at.
    """

    name: str
    problems: tuple[str, ...]
    answer: str | None = None
    checks: int = 1

    @property
    def score(self) -> float:
        """The share of what was looked at that is right, 0 to 1."""
        return 1 - min(len(self.problems), self.checks) / self.checks


def run_tests(prompt: AnyPrompt, *, tests: list[PromptTest] | None = None) -> list[Outcome]:
    """Render the prompt for each of its tests and look at the text. No model is asked."""
    return [_on_text(prompt, test, None)[0] for test in (prompt.content.tests if tests is None else tests)]


async def ask_tests(
    prompt: AnyPrompt,
    ask: Ask | None,
    *,
    tests: list[PromptTest] | None = None,
    every: bool = False,
    choose: Choose | None = None,
) -> list[Outcome]:
    """Run the tests, and ask a model for those that say what its answer must be like.

    Args:
        ask: None: no model is asked.
        tests: in place of the prompt's own.
        every: ask for the other tests too, to see what is answered.
    """
    outcomes = []
    for test in prompt.content.tests if tests is None else tests:
        examples = await choose(prompt, test.inputs) if choose is not None and prompt.choosers else None
        outcome, rendered = _on_text(prompt, test, examples)
        if ask is not None and rendered is not None and (test.answer is not None or every):
            outcome = await _on_answer(prompt, test, rendered, outcome, ask)
        outcomes.append(outcome)
    return outcomes


def _on_text(prompt: AnyPrompt, test: PromptTest, examples: Choice | None) -> tuple[Outcome, Rendered | None]:
    checks = max(len(test.contains) + len(test.lacks), 1)
    try:
        rendered = prompt.render(test.inputs, examples)
    except CallError as error:
        return Outcome(test.name, (error.message,), checks=checks), None
    problems = [f"lacks {part!r}" for part in test.contains if part not in rendered.text]
    problems += [f"has {part!r}" for part in test.lacks if part in rendered.text]
    return Outcome(test.name, tuple(problems), checks=checks), rendered


async def _on_answer(prompt: AnyPrompt, test: PromptTest, rendered: Rendered, so_far: Outcome, ask: Ask) -> Outcome:
    try:
        said = await ask(rendered, prompt.content)
    except CallError as error:
        return Outcome(test.name, (*so_far.problems, f"the model failed: {error.message}"), checks=so_far.checks + 1)
    marks = prompt.content.reasoning
    text = split_reasoning(said.text, marks)[0] if marks is not None else said.text
    wanted = test.answer or AnswerTest()
    problems, checks = judge(text, said.tokens, wanted, prompt.content.output)
    return Outcome(test.name, (*so_far.problems, *problems), answer=text, checks=so_far.checks + checks)


def judge(text: str, tokens: int | None, wanted: AnswerTest, output: dict[str, object]) -> tuple[list[str], int]:
    """What is wrong with an answer, and how many things were looked at."""
    problems = [f"the answer lacks {part!r}" for part in wanted.contains if part not in text]
    problems += [f"the answer has {part!r}" for part in wanted.lacks if part in text]
    checks = len(wanted.contains) + len(wanted.lacks)
    if wanted.equals is not None:
        checks += 1
        if text.strip() != wanted.equals.strip():
            problems.append(f"the answer is not {wanted.equals!r}")
    if wanted.matches:
        checks += 1
        if not re.search(wanted.matches, text):
            problems.append(f"the answer does not match {wanted.matches!r}")
    if wanted.fits_output:
        checks += 1
        problems += [f"the answer does not fit the output schema: {why}" for why in output_problems(output, text)[:1]]
    if wanted.max_tokens is not None:
        checks += 1
        if tokens is None:
            problems.append("the model does not say how many tokens its answer has")
        elif tokens > wanted.max_tokens:
            problems.append(f"the answer has {tokens} tokens, more than {wanted.max_tokens}")
    return problems, checks
