"""``chainops demo``: the support desk answers three questions on the shipped model, traced from end to end."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import sqlite3
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from chainops.errors import MissingExtra, SetupError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["app"]

app = typer.Typer(add_completion=False)
QUESTIONS = ("How much is shipping?", "Where is my order 67-26?", "I want a refund for order 41-83.")
Say = Callable[[dict[str, Any]], None]


@app.command()
def demo(
    question: Annotated[list[str] | None, typer.Argument(help="Ask these instead of the three examples.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Approve refunds without asking.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per event, for scripts.")] = False,
    db: Annotated[Path, typer.Option(help="The trace file.", envvar="CHAINOPS_TRACE__PATH")] = Path("chainops.db"),
    model: Annotated[Path | None, typer.Option(help="Another GGUF file.")] = None,
) -> None:
    """Run the support desk on the shipped model, and show its trace.

    Exit code 130 after Ctrl-C: the trace then holds what ran until there.
    """
    # bytes of another encoding than the terminal's arrive as characters that no JSON can hold
    asked = [text.encode(errors="replace").decode() for text in question or QUESTIONS]
    _check_llama()
    desk = _recipe()
    orders = _orders(desk, db)
    talk = _Json() if as_json else _Terminal(yes)
    asker = (lambda pending: "yes") if yes else talk.ask
    pipeline = desk.layers(db)
    trace = pipeline.middleware[0]
    try:
        threads = asyncio.run(_answer_all(desk, pipeline, orders, model, asked, talk.say, asker))
    except (KeyboardInterrupt, asyncio.CancelledError):
        trace.close()
        talk.say({"event": "stopped", "trace": str(db)})
        raise typer.Exit(130) from None
    finally:
        written = trace.close()
    done = {"event": "done", "trace": str(db), "threads": threads, "spans": written.durable if written else 0}
    talk.say({**done, "runs": [_runs_of(thread, db) for thread in threads]})


def _runs_of(thread: str, db: Path) -> list[str]:
    """Ids of the runs of a conversation, oldest first: one, and one more for each time a person was asked."""
    from chainops.store.reader import Reader

    with Reader(db) as reader:
        return [run.run_id for run in reversed(reader.runs(thread=thread))]


def _recipe() -> ModuleType:
    from chainops.store.shipped import shipped

    path = shipped("recipes") / "support_desk" / "app.py"
    spec = importlib.util.spec_from_file_location("chainops_recipe_support_desk", path)
    if spec is None or spec.loader is None:
        raise SetupError(f"The recipe {path} cannot be loaded", code="setup.recipe")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _orders(desk: ModuleType, db: Path) -> Path:
    folder = db.absolute().parent
    try:
        made: Path = desk.make_orders(folder / "support_desk.db")
    except sqlite3.OperationalError as error:
        raise SetupError(
            f"Cannot write in {folder}: {error}",
            hint="Change to a directory that you can write in, or give a file with --db.",
            code="setup.directory",
        ) from None
    return made


def _check_llama() -> None:
    """Say that the engine is missing before anything else is said."""
    if all(importlib.util.find_spec(name) is None for name in ("llama_cpp", "xllamacpp")):
        raise MissingExtra("llama", package="llama-cpp-python", needed_for="The demo's local model")


def _model(path: Path | None) -> Any:
    from chainops.engines.llama import ChatLlama
    from chainops.store.shipped import shipped

    if path is not None:
        return ChatLlama(model_path=str(path))
    tiny = shipped("recipes") / "tiny_model" / "support-desk-tiny.gguf"
    digest = tiny.with_name(tiny.name + ".sha256").read_text(encoding="utf-8").split()[0]
    return ChatLlama(model_path=str(tiny), sha256=digest)


async def _answer_all(
    desk: ModuleType,
    pipeline: Any,
    orders: Path,
    model_path: Path | None,
    questions: list[str],
    say: Say,
    ask: Callable[[dict[str, Any]], str],
) -> list[str]:
    from langgraph.checkpoint.memory import InMemorySaver

    from chainops.adapters.langgraph import instrument
    from chainops.adapters.scope import run_id_v7

    say({"event": "loading"})
    model = _model(model_path)
    try:
        graph = instrument(desk.graph(model, orders, InMemorySaver()), pipeline)
        threads = [f"demo-{run_id_v7()[:13]}-{i}" for i, _ in enumerate(questions, 1)]
        for question, thread in zip(questions, threads, strict=True):
            say({"event": "question", "thread": thread, "text": question})
            async with aclosing(_answer(graph, question, thread, ask)) as events:
                async for event in events:
                    say(event)
        return threads
    finally:
        model.close()


async def _answer(
    graph: Any, question: str, thread: str, ask: Callable[[dict[str, Any]], str]
) -> AsyncGenerator[dict[str, Any]]:
    """Events of one request, until nobody has to be asked any more."""
    from langgraph.types import Command

    config = {"configurable": {"thread_id": thread}}
    given: Any = {"messages": [("user", question)]}
    while given is not None:
        pending = None
        async with aclosing(graph.astream(given, config, stream_mode=["messages", "updates"])) as parts:
            async for mode, part in parts:
                if mode == "messages":
                    chunk, about = part
                    if about["langgraph_node"] == "agent" and chunk.type == "AIMessageChunk" and chunk.text:
                        yield {"event": "token", "text": str(chunk.text)}
                    continue
                for node, update in part.items():
                    if node == "__interrupt__":
                        pending = update[0].value
                        continue
                    for event in _events(node, update or {}):
                        yield event
        given = None
        if pending is not None:
            answer = await asyncio.to_thread(ask, pending)
            yield {"event": "approval", "question": pending["question"], "answer": answer}
            given = Command(resume=answer)


def _events(node: str, update: dict[str, Any]) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    if node == "triage":
        events.append({"event": "topic", "topic": update["topic"]})
    for message in update.get("messages", ()):
        for call in getattr(message, "tool_calls", ()):
            events.append({"event": "tool_call", "name": call["name"], "args": call["args"]})
        if node == "agent" and message.text:
            events.append({"event": "answer", "text": str(message.text)})
        if message.type == "tool":
            events.append({"event": "tool_result", "text": str(message.text)})
    return events


def _program() -> str:
    """How this program can be called from here."""
    if shutil.which("chainops"):
        return "chainops"
    called = Path(sys.argv[0])
    return "python -m chainops" if called.name == "__main__.py" else os.path.relpath(called)


class _Json:
    """Every event as one line of JSON on stdout."""

    def say(self, event: dict[str, Any]) -> None:
        import orjson

        sys.stdout.buffer.write(orjson.dumps(event) + b"\n")
        sys.stdout.flush()

    def ask(self, pending: dict[str, Any]) -> str:
        return "no"  # nobody is there to ask; --yes approves


class _Terminal:
    """The conversation as a person reads it, and at the end the tree of each run."""

    def __init__(self, yes: bool) -> None:
        from rich.console import Console

        self.out: Console = Console(highlight=False)
        self.err: Console = Console(stderr=True, highlight=False)
        self.yes = yes

    def say(self, event: dict[str, Any]) -> None:
        shown = getattr(self, f"_{event['event']}", None)
        if shown is not None:
            shown(event)

    def ask(self, pending: dict[str, Any]) -> str:
        if sys.stdin is None or not sys.stdin.isatty():
            self.err.print("[yellow]No terminal to ask in: declined. Use --yes to approve.[/]")
            return "no"
        return "yes" if typer.confirm(f"  ? {pending['question']}", err=True) else "no"

    def _loading(self, event: dict[str, Any]) -> None:
        self.err.print("[dim]Loading the model that chainops ships (2 MB, made by recipes/tiny_model) ...[/]")

    def _question(self, event: dict[str, Any]) -> None:
        self.out.print(f"\n[bold cyan]you[/]   {escape(event['text'])}")

    def _topic(self, event: dict[str, Any]) -> None:
        self.out.print(f"[dim]      routed as: {event['topic']}[/]")
        self.out.print("[bold green]desk[/]  ", end="")

    def _token(self, event: dict[str, Any]) -> None:
        self.out.print(event["text"], end="", markup=False)

    def _answer(self, event: dict[str, Any]) -> None:
        self.out.print()

    def _tool_call(self, event: dict[str, Any]) -> None:
        arguments = ", ".join(f"{key}={value}" for key, value in event["args"].items())
        self.out.print(f"[dim]-> {event['name']}({escape(arguments)})[/]")

    def _tool_result(self, event: dict[str, Any]) -> None:
        self.out.print(f"      {event['text']}", style="dim", markup=False, soft_wrap=True)
        self.out.print("[bold green]desk[/]  ", end="")

    def _approval(self, event: dict[str, Any]) -> None:
        self.out.print(
            f"[yellow]      {escape(event['question'])} {event['answer']}{' (--yes)' if self.yes else ''}[/]"
        )

    def _stopped(self, event: dict[str, Any]) -> None:
        self.err.print(f"\nStopped. What ran until here is in {escape(event['trace'])}: chainops trace show last")

    def _done(self, event: dict[str, Any]) -> None:
        from chainops.cli.trace_view import render_trace

        self.out.print("\n[bold]What happened in the last conversation[/]\n")
        for run in event["runs"][-1]:
            self.out.print(render_trace(run, event["trace"]))
            self.out.print()
        where = escape(os.path.relpath(event["trace"]))
        program = _program()
        option = "" if where == "chainops.db" else f" --db {where}"
        self.out.print(f"{event['spans']} spans are in [bold]{where}[/]. Try next:")
        for command, why in (
            (f"trace list{option}", "all runs"),
            (f"trace search refund{option}", "full text over inputs and outputs"),
            (f"demo 'Is delivery free?'{option}", "your own question"),
            ("docs", "the documentation, offline"),
        ):
            self.out.print(f"  {program} {command:<34} [dim]{why}[/]")
