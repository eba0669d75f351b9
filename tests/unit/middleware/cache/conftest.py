"""Caches and pipelines around real handlers, without a graph."""

import asyncio

import pytest
from langchain_core.messages import HumanMessage

from chainops import Pipeline
from chainops.calls import RunContext
from chainops.middleware.cache import Cache
from chainops.recorder import NO_RECORDER
from chainops.testing import ScriptedModel, model_call


class Notes:
    """A recorder that keeps annotations, by layer."""

    def __init__(self):
        self.found = []

    def annotate(self, name, attributes):
        self.found.append((name, dict(attributes)))

    def last(self, name="cache"):
        return next((attributes for layer, attributes in reversed(self.found) if layer == name), None)

    span, score, artifact = NO_RECORDER.span, NO_RECORDER.score, NO_RECORDER.artifact


@pytest.fixture(params=["memory", "disk"])
def make_cache(request, tmp_path):
    """``make_cache(**options)``: a cache in memory, then one on disk."""
    made = []

    def make(**options):
        directory = None if request.param == "memory" else tmp_path / "cache"
        made.append(Cache(options.pop("directory", directory), **options))
        return made[-1]

    yield make
    for cache in made:
        cache.close()


class Desk:
    """One scripted model behind a cache, and short ways to ask it."""

    def __init__(self, cache, script, *layers, **model):
        self.model = ScriptedModel(script, **model)
        self.cache = cache
        self.handler = Pipeline([*layers, cache]).around_model(self.model)
        self.notes = Notes()

    async def ask(self, text="hi", *, tenant=None, user=None, thread=None, messages=None, metadata=None, **call):
        given = {k: v for k, v in {"tenant": tenant, "user": user, **(metadata or {})}.items() if v is not None}
        call = {"params": {"temperature": 0}, "model": self.model, "recorder": self.notes, **call}
        call["messages"] = messages if messages is not None else (HumanMessage(text),)
        run = RunContext(run_id="r", thread_id=thread, graph="test", metadata=given)
        return await self.handler(model_call(**{"run": run, **call}))

    @property
    def asked(self):
        return len(self.model.calls)


@pytest.fixture
def desk(make_cache):
    """``desk(script, *layers, cache options)``."""

    def make(script, *layers, model=None, **options):
        return Desk(make_cache(**options), script, *layers, **(model or {}))

    return make


@pytest.fixture
def eventually():
    """``await eventually(condition)``: returns when it is true, fails after ten seconds."""

    async def wait(condition):
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.002)

    return wait
