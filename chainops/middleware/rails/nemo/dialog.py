"""Colang 1.0 dialog rails: what a person says at the boundary of a graph, through NeMo's interpreter."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from chainops.errors import SetupError
from chainops.middleware.rails.nemo import traps
from chainops.middleware.rails.nemo.engine import Engine, engine
from chainops.middleware.rails.nemo.folder import read
from chainops.middleware.rails.nemo.model import ChatModelForNemo

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from chainops.embedding import Embedder

__all__ = ["Dialog", "Said", "has_dialog"]

GO_ON = "continue"
LEFT = frozenset({"generate_next_steps", "general"})  # to the graph: what comes next, and free answers
ALIKE = 0.55  # on NeMo's scale; a cosine of 0.6
_building = threading.Lock()
_embedders: dict[str, Embedder] = {}


class Said(NamedTuple):
    """What the dialog says: the answer in place of the graph, or None; and what was asked of its model."""

    text: str | None
    model_calls: list[dict[str, Any]]


class Dialog:
    """Asks the dialog rails of a NeMo folder what follows from the last turns of a conversation.

    Where Colang has a flow for what was said, its bot message is the answer in place of the graph. Where it has none,
    or the flow says ``bot continue``, the graph runs. NeMo's interpreter computes for milliseconds each turn, so it
    runs in a thread, and sees the last ``turns`` only. Nothing is reported, no code of the folder or of the working
    directory is run, and a conversation leaves nothing behind.

    Args:
        folder: with a ``config.yml`` and ``.co`` files.
        embedder: finds the intent of what was said.
        model: asked for the intent, and for bot messages that Colang does not spell out. Without one the nearest
            example decides, if it is as near as ``embeddings_only_similarity_threshold``.
        turns: of the person, the last one included. timeout_s: seconds for one turn.

    Raises:
        SetupError: ``setup.nemo``: the folder cannot be read or has no dialog rails; or a flow answers with a message
            that nobody could write.
    """

    def __init__(
        self,
        folder: str | Path,
        embedder: Embedder,
        *,
        model: BaseChatModel | None = None,
        turns: int = 1,
        timeout_s: float = 30.0,
    ) -> None:
        path, nemo = Path(folder), engine()
        if turns < 1 or timeout_s <= 0:
            raise SetupError(f"Dialog(turns={turns}, timeout_s={timeout_s})", hint="Both positive.", code="setup.rail")
        config = read(nemo, path)
        if not config.user_messages or not config.flows:
            raise traps.wrong(path, "has no dialog rails: user messages and flows", "Write them in a .co file.")
        spoken = [(flow.get("id"), step) for flow in config.flows for step in _said_in(flow)]
        config.bot_messages.setdefault(GO_ON, ["The graph goes on."])
        self.folder, self.turns, self.timeout_s = path, turns, timeout_s
        self._go_on = frozenset(config.bot_messages[GO_ON])
        _bare(nemo, config, embedder, alone=model is None)
        with _building, _no_code(nemo):
            if "chainops" not in nemo.embedding_engines:
                nemo.register_embeddings(_embeddings(nemo), "chainops")
            _embedders[embedder.identity] = embedder
            self._rails = _with_a_loop(lambda: nemo.LLMRails(config, llm=_Voice(model, next(iter(self._go_on)))))
        known = self._rails.config.bot_messages
        for flow, step in spoken:
            if model is None and step not in known:
                raise traps.wrong(
                    path,
                    f"has the flow {flow!r} with 'bot {step}', which no message spells out, and there is no model",
                    f"define bot {step}, or give a model.",
                )

    def describe(self) -> dict[str, Any]:
        """Its folder's name and settings."""
        return {"folder": self.folder.name, "turns": self.turns, "timeout_s": self.timeout_s}

    async def answer(self, talk: Sequence[tuple[str, str]]) -> Said:
        """What the dialog says to a conversation of role and text.

        Raises:
            TimeoutError: it took longer than ``timeout_s``. Whatever NeMo raises.
        """
        messages = [{"role": role, "content": text} for role, text in talk if role in ("user", "assistant")]
        starts = [i for i, m in enumerate(messages) if m["role"] == "user"][-self.turns :]
        if not starts:
            return Said(None, [])
        async with asyncio.timeout(self.timeout_s):
            return await asyncio.to_thread(self._asked, messages[starts[0] :])

    def _asked(self, messages: list[dict[str, str]]) -> Said:
        engine().explain_info.set(None)  # else it keeps every prompt for as long as the task lives
        options = {"rails": ["dialog"], "log": {"llm_calls": True}}
        # a state, though empty, keeps the conversation out of a cache that only grows
        done = asyncio.run(self._rails.generate_async(messages=messages, options=options, state={}))
        response = done.response
        text = response if isinstance(response, str) else "".join(str(m.get("content") or "") for m in response)
        text = text.strip()
        if not text or "internal error" in text.lower():
            raise ValueError(text or "the dialog rails said nothing")
        calls = [
            {"task": c.task, "prompt": c.prompt, "completion": c.completion, "seconds": c.duration}
            for c in done.log.llm_calls or ()
            if c.task not in LEFT
        ]
        return Said(None if text in self._go_on else text, calls)


def has_dialog(folder: str | Path) -> bool:
    """Whether a NeMo folder has dialog rails. Raises ``SetupError`` where it cannot be read."""
    config = read(engine(), Path(folder))
    return bool(config.user_messages and config.flows)


class _Voice(ChatModelForNemo):
    """The dialog's model. What the graph is there for is not asked of it."""

    def __init__(self, model: BaseChatModel | None, go_on: str) -> None:
        super().__init__(model)  # type: ignore[arg-type]  # asked only where there is one
        self.go_on = go_on

    async def generate_async(self, prompt: Any, *, stop: Sequence[str] | None = None, **options: Any) -> Any:
        """The model's answer, or a word that lets the graph go on."""
        nemo = engine()
        asked = nemo.call_info.get()
        task = "" if asked is None else asked.task
        if task in LEFT:
            return nemo.Response(content=f"bot {GO_ON}" if task == "generate_next_steps" else self.go_on)
        if self.model is None:
            raise ValueError(f"the dialog rails ask a model ({task}), and there is none")
        return await super().generate_async(prompt, stop=stop, **options)


def _said_in(flow: Mapping[str, Any]) -> Iterator[str]:
    for step in flow.get("elements") or ():
        action = step.get("_type") == "run_action" and step.get("action_name") == "utter"
        if action and isinstance(value := step.get("action_params", {}).get("value"), str) and "$" not in value:
            yield value


def _bare(nemo: Engine, config: Any, embedder: Embedder, *, alone: bool) -> None:
    """Leave the dialog in a configuration, and nothing else that would compute, write, send or run code."""
    for section in (config.rails.input, config.rails.output, config.rails.retrieval):
        section.flows = []  # these run compiled, at every node
    config.config_path, config.imported_paths = None, {}
    config.docs = []  # else NeMo keeps an index of kb/ in the working directory
    config.models = [nemo.Model(type="embeddings", engine="chainops", model=embedder.identity)]
    config.passthrough, config.tracing.enabled = False, False
    config.rails.dialog.single_call.enabled = False
    if alone:
        nearest = config.rails.dialog.user_messages
        nearest.embeddings_only = True
        if nearest.embeddings_only_similarity_threshold is None:
            nearest.embeddings_only_similarity_threshold = ALIKE
        nearest.embeddings_only_fallback_intent = nearest.embeddings_only_fallback_intent or "say something else"


def _with_a_loop(make: Callable[[], Any]) -> Any:
    """NeMo takes the thread's event loop while it is built, or makes one and leaves it open: here is one to take."""

    def here() -> Any:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            return make()
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(here).result()


@contextmanager
def _no_code(nemo: Engine) -> Iterator[None]:
    """While this lasts, NeMo loads no actions but its own: not from the working directory, and not from a folder."""
    dispatcher = nemo.ActionDispatcher
    load, home = dispatcher.load_actions_from_path, nemo.home

    def own_only(self: Any, path: Any) -> None:
        if Path(path).resolve().is_relative_to(home):
            load(self, Path(path))

    dispatcher.load_actions_from_path = own_only
    try:
        yield
    finally:
        dispatcher.load_actions_from_path = load


def _embeddings(nemo: Engine) -> Any:
    class Embeddings(nemo.EmbeddingModel):  # type: ignore[misc,name-defined]
        engine_name = "chainops"

        def __init__(self, embedding_model: str = "", **options: Any) -> None:
            self.model = embedding_model

        async def encode_async(self, documents: list[str]) -> list[list[float]]:
            return [[float(x) for x in row] for row in await _embedders[self.model].embed(documents)]

        def encode(self, documents: list[str]) -> list[list[float]]:
            return asyncio.run(self.encode_async(documents))

    return Embeddings
