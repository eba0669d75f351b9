"""The model that commands ask: the shipped one, a GGUF file, or any chat model by its place in code."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from chainops.errors import ChainopsError, SetupError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from chainops.middleware.prompts.content import Content, PromptTest
    from chainops.middleware.prompts.slots import AnyPrompt
    from chainops.middleware.prompts.template import Choice, Rendered
    from chainops.middleware.prompts.trial import Ask, Outcome, Said

__all__ = ["Model", "chat_model", "choose_examples", "outcomes_of"]

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="FILE|MODULE:NAME",
        help="The model to ask: a GGUF file, or a chat model in code; else the one that chainops ships.",
    ),
]
T = TypeVar("T")
SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed", "max_tokens")
MAX_TOKENS = 512


def chat_model(wanted: str | None) -> BaseChatModel:
    """The chat model that --model names.

    Raises:
        SetupError: there is none (``setup.model_choice``), or it cannot be loaded.
    """
    if wanted is not None and ":" in wanted and not Path(wanted).exists():
        return _from_code(wanted)
    from chainops.engines.llama import ChatLlama
    from chainops.store.shipped import shipped

    if wanted is not None:
        return ChatLlama(model_path=wanted)
    tiny = shipped("recipes") / "tiny_model" / "support-desk-tiny.gguf"
    digest = tiny.with_name(tiny.name + ".sha256").read_text(encoding="utf-8").split()[0]
    return ChatLlama(model_path=str(tiny), sha256=digest)


def _from_code(wanted: str) -> BaseChatModel:
    from langchain_core.language_models import BaseChatModel

    module, _, name = wanted.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = getattr(import_module(module), name)
        made = found if isinstance(found, BaseChatModel) else found()
    except Exception as error:  # noqa: BLE001 - the code is the person's own
        raise SetupError(
            f"--model {wanted!r} does not load: {type(error).__name__}: {error}",
            hint="Write module:name of a chat model, or of a function that makes one.",
            code="setup.model_choice",
        ) from None
    if not isinstance(made, BaseChatModel):
        raise SetupError(
            f"--model {wanted!r} is a {type(made).__name__}, not a chat model",
            hint="Write module:name of a LangChain chat model, or of a function that makes one.",
            code="setup.model_choice",
        )
    return made


@contextmanager
def _asking(wanted: str | None) -> Iterator[Ask]:
    """Asks the model with a prompt's own settings, at temperature 0 where it has none."""
    from chainops.middleware.prompts.trial import Said

    model = chat_model(wanted)
    local = type(model).__name__ == "ChatLlama"

    async def ask(rendered: Rendered, content: Content) -> Said:
        given = {k: v for k, v in content.model.items() if not local or k in SAMPLING}
        options = {"temperature": 0.0, **({"seed": 0, "max_tokens": MAX_TOKENS} if local else {}), **given}
        try:
            answer = await model.ainvoke(rendered.to_langchain(), **options)
        except ChainopsError:
            raise
        except Exception as error:
            from chainops.errors import CallError

            raise CallError(f"{type(error).__name__}: {error}", code="call.model") from error
        usage = answer.usage_metadata
        return Said(str(answer.text), usage["output_tokens"] if usage else None)

    try:
        yield ask
    finally:
        if close := getattr(model, "close", None):
            close()


def outcomes_of(
    prompts: Sequence[AnyPrompt],
    wanted: str | None,
    *,
    tests: Callable[[AnyPrompt], list[PromptTest]] | None = None,
    every: bool = False,
    text_only: bool = False,
) -> list[list[Outcome]]:
    """How the tests of each prompt go; a model is loaded only where one must be asked.

    Args:
        tests: in place of each prompt's own.
        every: ask for every test, to see what is answered.
        text_only: ask for none.
    """
    from chainops.middleware.prompts.trial import ask_tests, run_tests

    chosen = [prompt.content.tests if tests is None else tests(prompt) for prompt in prompts]
    asking = sum(every or test.answer is not None for each in chosen for test in each)
    if text_only or not asking:
        if not any(prompt.choosers for prompt in prompts):
            return [run_tests(prompt, tests=each) for prompt, each in zip(prompts, chosen, strict=True)]
        pairs = list(zip(prompts, chosen, strict=True))

        async def look() -> list[list[Outcome]]:
            return [await ask_tests(prompt, None, tests=each, choose=choose_examples) for prompt, each in pairs]

        return asyncio.run(look())
    with _asking(wanted) as ask, _progress(asking) as counted:

        async def run() -> list[list[Outcome]]:
            return [
                await ask_tests(prompt, counted(ask), tests=each, every=every, choose=choose_examples)
                for prompt, each in zip(prompts, chosen, strict=True)
            ]

        return asyncio.run(run())


async def choose_examples(prompt: AnyPrompt, values: dict[str, Any]) -> Choice:
    """The examples of a prompt that are most like ``values``, by the embedder in the usual place.

    Raises:
        SetupError: there is no embedder (``setup.embedder_missing``).
    """
    from chainops.engines.embeddings import LazyEmbedder
    from chainops.middleware.prompts.choosing import ExampleChooser

    return await ExampleChooser(LazyEmbedder()).choose(prompt, values)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Ask], Ask]]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("asking the model", total=total)

        def counted(ask: Ask) -> Ask:
            def one(rendered: Rendered, content: Content) -> Coroutine[Any, Any, Said]:
                async def go() -> Said:
                    try:
                        return await ask(rendered, content)
                    finally:
                        bar.advance(task)

                return go()

            return one

        yield counted
