"""When a model is loaded, shared, closed, copied and tried again."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chainops.errors import SetupError

from .tiny_gguf import chain_model, write_parts

pytestmark = pytest.mark.llama
Chain = Callable[..., Any]
Eventually = Callable[[Callable[[], bool]], None]

HELLO = [b"Hel", b"lo ", b"wor", b"ld", b"!"]
LONG = 60_000
ENDLESS: dict[str, Any] = {"loop": True, "context": LONG, "n_ctx": LONG, "max_tokens": None}


async def test_use_after_close_is_a_clean_error(chain: Chain) -> None:
    from chainops.engines.llama import ModelClosed

    model = chain(HELLO)
    model.invoke("hi")
    await model.aclose()
    model.close()
    with pytest.raises(ModelClosed):
        await model.ainvoke("hi")
    with pytest.raises(ModelClosed):
        list(model.stream("hi"))
    with pytest.raises(ModelClosed):
        model.get_num_tokens("hi")


async def test_closing_ends_the_running_and_the_waiting_call(chain: Chain) -> None:
    from chainops.engines.llama import ModelClosed

    model = chain(HELLO, **ENDLESS, n_parallel=1)
    running = model.astream("hi")
    await anext(running)
    waiting = asyncio.create_task(model.ainvoke("waits"))
    while not model.session.waiting:
        await asyncio.sleep(0)
    session = model.session
    await model.aclose()
    with pytest.raises(ModelClosed):
        await waiting
    with pytest.raises(ModelClosed):
        async for _ in running:
            pass
    assert session.stats.generated_tokens < LONG // 2
    with pytest.raises(ModelClosed):
        session.token_ids("hi")


def test_equal_models_share_one_session_until_the_last_is_closed(chain: Chain) -> None:
    first = chain(HELLO)
    second = first.model_copy(update={"temperature": 0.5})
    third = type(first)(model_path=first.model_path, probe=False)
    other = type(first)(model_path=first.model_path, probe=False, n_ctx=128)
    assert first.session is second.session is third.session
    assert other.session is not first.session
    first.close()
    assert third.invoke("hi").content == "Hello world!"
    third.close()
    other.close()
    assert not third._lease._held


def test_a_copy_or_pickle_is_a_new_owner_of_the_same_model(chain: Chain) -> None:
    model = chain(HELLO)
    model.invoke("hi")
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.invoke("hi").content == "Hello world!"
        assert twin.session is model.session
        twin.close()
    assert model.invoke("hi").content == "Hello world!"


def test_an_owner_that_disappears_leaves_no_hold(chain: Chain) -> None:
    model = chain(HELLO)
    session = model.session
    other = type(model)(model_path=model.model_path, probe=False)
    assert other.session is session
    assert len(session.leases) == 2
    del other
    assert len(session.leases) == 1


async def test_a_model_that_cannot_be_loaded_says_so_at_every_call_and_is_tried_again(
    chain: Chain, tmp_path: Path
) -> None:
    good = chain(HELLO)
    path = tmp_path / "later.gguf"
    model = type(good)(model_path=path, probe=False)
    for _ in range(2):
        with pytest.raises(SetupError, match="no such file"):
            await model.ainvoke("hi")
    with pytest.raises(SetupError, match="no such file"):
        model.get_num_tokens("hi")
    path.write_bytes(Path(good.model_path).read_bytes())
    assert (await model.ainvoke("hi")).content == "Hello world!"
    model.close()


def test_a_model_in_two_parts_answers_like_a_whole_one(chain: Chain, tmp_path: Path) -> None:
    path = write_parts(chain_model(HELLO), tmp_path)
    model = type(chain(HELLO))(model_path=path, probe=False)
    assert model.invoke("hi").content == "Hello world!"
    model.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_loads_its_own_model_while_the_parents_goes_on(chain: Chain) -> None:
    model = chain(HELLO, loop=True, max_tokens=2000)
    stream = model.stream("hi")
    next(stream)
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if model.invoke("hi", max_tokens=5).content == "Hello world!" else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert next(stream).content
    stream.close()
    assert model.invoke("hi", max_tokens=5).content == "Hello world!"


@pytest.mark.parametrize("closing", ["", "model.close()", "sys.exit(0)", "del model"])
def test_a_process_ends_cleanly_whatever_runs(chain: Chain, closing: str) -> None:
    path = chain(HELLO, loop=True).model_path
    code = (
        "import sys\nfrom chainops.engines.llama import ChatLlama\n"
        f"model = ChatLlama(model_path={path!r}, probe=False, max_tokens=None)\n"
        "streams = [model.stream(f'question {n}') for n in range(3)]\n"
        f"for stream in streams: next(stream)\nprint('running')\n{closing}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "running\n", "")
