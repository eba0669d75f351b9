"""The engines on a real server: llama.cpp's own with the tiny model, over HTTP."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langgraph.graph import START, MessagesState, StateGraph

from chainops import App, SetupError
from chainops.store.shipped import shipped
from chainops.testing import EngineConformance, RecordedTrace, check_plugin
from chainops_openai_compat import plugin

pytest.importorskip("langchain_openai", reason="needs langchain-openai (the [openai] extra)")
TINY = shipped("recipes") / "tiny_model" / "support-desk-tiny.gguf"


def missing() -> str:
    import importlib.util

    for name in ("llama_cpp", "fastapi", "uvicorn", "sse_starlette", "starlette_context", "pydantic_settings"):
        if importlib.util.find_spec(name) is None:
            return f"needs {name} (llama-cpp-python[server])"
    return "" if TINY.is_file() else f"{TINY.name} is not there"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a server that really runs."""
    if reason := missing():
        pytest.skip(reason)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    words = ["--model", str(TINY), "--port", str(port), "--n_ctx", "512", "--model_alias", "tiny"]
    with log.open("w") as out:
        process = subprocess.Popen([sys.executable, "-m", "llama_cpp.server", *words], stdout=out, stderr=out)
    url = f"http://127.0.0.1:{port}/v1"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{url}/models", timeout=2).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def engine(url: str, name: str = "llama_server", model: str = "tiny", **options: Any) -> BaseChatModel:
    made: BaseChatModel = plugin.engines[name](plugin.check_options({name: {"url": url, **options}}), model)
    return made


NO_USAGE = "the server of llama-cpp-python leaves stream_options out: it reports no usage for streams"


class TestConformance(EngineConformance):
    @pytest.fixture(autouse=True)
    def _server(self, server: str) -> None:
        self.url = server

    def make(self) -> BaseChatModel:
        return engine(self.url)

    @pytest.mark.xfail(reason=NO_USAGE)
    async def test_a_stream_is_one_message_in_pieces(self) -> None:
        await super().test_a_stream_is_one_message_in_pieces()

    @pytest.mark.xfail(reason=NO_USAGE)
    async def test_it_is_traced_as_a_model_call(self) -> None:
        await super().test_it_is_traced_as_a_model_call()


async def test_a_node_asks_the_server_by_an_alias_of_the_settings(
    server: str, tmp_path: Path, installed_plugin: Any
) -> None:
    import chainops

    application = App(
        pipeline={"middleware": ["trace", "route"]},
        plugins={"openai_compat": {"llama_server": {"url": server}}},
        route={"models": {"small": {"engine": "openai_compat/llama_server", "model": "tiny"}}},
        trace={"path": str(tmp_path / "t.db")},
    )

    async def answer(state: MessagesState) -> Any:
        return {"messages": [await chainops.model("small").ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    with application:
        state = await application.instrument(builder.compile()).ainvoke({"messages": ["How much is shipping?"]})
    assert state["messages"][-1].text.startswith("Shipping is free above fifty euros.")
    (call,) = RecordedTrace(tmp_path / "t.db").model_calls
    assert (call.tokens_in, call.tokens_out) == (25, 17)


class Recorder:
    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200


@pytest.fixture
def vllm() -> Iterator[Any]:
    """Speaks as vLLM does: a stream ends with a piece that has the usage and no choice."""
    found = Recorder()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            found.headers.append(dict(self.headers))
            self.send_response(found.status)
            self.send_header("Content-Type", "text/event-stream" if found.status == 200 else "application/json")
            self.end_headers()
            if found.status != 200:
                self.wfile.write(b'{"error": {"message": "busy"}}')
                return
            common = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "big"}
            pieces = [{"delta": {"content": word}, "index": 0, "finish_reason": None} for word in ("Good ", "day")]
            chunks = [{**common, "choices": [piece]} for piece in pieces]
            chunks.append({**common, "choices": [{"delta": {}, "index": 0, "finish_reason": "stop"}]})
            usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
            chunks.append({**common, "choices": [], "usage": usage})
            for chunk in chunks:
                self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            self.wfile.write(b"data: [DONE]\n\n")

        def log_message(self, *args: Any) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    found.url = f"http://127.0.0.1:{listener.server_port}/v1"  # type: ignore[attr-defined]
    yield found
    listener.shutdown()
    thread.join()
    listener.server_close()


async def test_usage_of_a_stream_is_asked_for_and_reported_once(vllm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "k1")
    options = {"key_env": "MY_KEY", "headers": {"x-team": "a"}, "window": 4096, "options": {"temperature": 0.1}}
    model = engine(vllm.url, "vllm", "big", **options)
    pieces = [piece async for piece in model.astream("hi")]
    assert "".join(piece.text for piece in pieces) == "Good day"
    assert [p.usage_metadata["total_tokens"] for p in pieces if p.usage_metadata] == [11]
    (request,) = vllm.requests
    assert (request["model"], request["temperature"], request["stream_options"]) == (
        "big",
        0.1,
        {"include_usage": True},
    )
    headers = {name.lower(): value for name, value in vllm.headers[0].items()}
    assert (headers["authorization"], headers["x-team"]) == ("Bearer k1", "a")
    assert model.profile["max_input_tokens"] == 4096  # type: ignore[index]


async def test_a_busy_server_is_asked_once_the_layer_tries_again(vllm: Any) -> None:
    vllm.status = 503
    with pytest.raises(Exception, match="busy"):
        await engine(vllm.url, "vllm", "big").ainvoke("hi")
    assert len(vllm.requests) == 1


def test_the_command_says_which_servers_answer_and_what_they_have(
    server: str, tmp_path: Path, installed_plugin: Any
) -> None:
    (tmp_path / "chainops.toml").write_text(
        f'[plugins.openai_compat.llama_server]\nurl = "{server}"\n'
        '[plugins.openai_compat.vllm]\nurl = "http://127.0.0.1:9/v1"\n'
        '[plugins.openai_compat.ollama]\nurl = "http://127.0.0.1:9/v1"\n'
    )

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "chainops", "openai_compat", "models", *words]
        return subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=60, env=dict(os.environ))

    every = run()
    assert every.returncode == 0, every.stderr
    assert every.stdout.split() == ["llama_server", "tiny", server]
    assert "vllm: http://127.0.0.1:9/v1/models does not answer" in every.stderr
    assert json.loads(run("llama_server", "--json").stdout) == {"models": {"llama_server": ["tiny"]}, "problems": {}}
    assert run("vllm").returncode == 1
    assert "There is no engine 'vlm'" in run("vlm").stderr


@pytest.mark.parametrize(
    ("options", "name", "model", "problem"),
    [
        ({}, "other", "m", "has no URL"),
        ({"other": {"url": "localhost:80"}}, "other", "m", "which is no http URL"),
        ({"vllm": {"key_env": "CHAINOPS_TEST_NO_KEY"}}, "vllm", "m", "CHAINOPS_TEST_NO_KEY, which is not set"),
        ({}, "ollama", "", "needs the name of a model"),
    ],
)
def test_a_wrong_setting_is_a_clear_error(options: Any, name: str, model: str, problem: str) -> None:
    with pytest.raises(SetupError, match=problem):
        plugin.engines[name](plugin.check_options(options), model)


async def test_everything_that_the_plugin_brings_passes_its_checks() -> None:
    assert [finding for finding in await check_plugin(plugin) if not finding.passed] == []
