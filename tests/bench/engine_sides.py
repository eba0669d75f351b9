"""What :mod:`bench_engine` compares: ``ChatLlama``, ``Llama`` behind a lock, and servers on a port of this machine."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol

import httpx

from chainops.engines.llama import ChatLlama
from chainops.engines.llama.request import Ask
from chainops.engines.llama.sampling import Sampling

WINDOW = 640
Messages = list[dict[str, str]]
PYTHON_SERVER = (
    "{python} -m llama_cpp.server --model {model} --host 127.0.0.1 --port {port} --n_ctx {window} --n_batch 512 "
    "--n_threads 1 --n_threads_batch 1 --interrupt_requests false"
)
NATIVE_SERVER = "{program} -m {model} --host 127.0.0.1 --port {port} -np {calls} -c {cells} -t 1 -tb 1 "
"""In both of its layouts; what is not said is its own default."""


class Side(Protocol):
    """Something that answers. ``cpu_s``: processor seconds so far; ``decode_s``: those inside llama.cpp, if known."""

    decode_s: float

    def ask(self, messages: Messages, tokens: int) -> AsyncIterator[int]: ...
    def cpu_s(self) -> float: ...
    def close(self) -> None: ...


def open_sides(
    path: Path,
    calls: int,
    *,
    layouts: list[str],
    servers: list[str],
    native: Path | None = None,
    python_server: bool = False,
    flash: bool = False,
) -> dict[str, Side]:
    """All that are asked for, with room for ``calls`` at once. ``servers``: NAME=COMMAND.

    ``flash``: with flash attention for ``ChatLlama``, and a second lock, whose ``Llama`` has it as well.
    """
    commands = dict(server.split("=", 1) for server in servers)
    if native is not None:
        program = shlex.quote(str(native))
        for name, layout in (("native", "-no-kvu"), ("native kvu", "-kvu")):
            commands[name] = NATIVE_SERVER.replace("{program}", program) + layout
    if python_server:
        commands["python server"] = PYTHON_SERVER.replace("{python}", shlex.quote(sys.executable))
    sides: dict[str, Side] = {"lock": Locked(path, flash=False)}
    if flash:
        sides["lock flash"] = Locked(path, flash=True)
    sides |= {name: Engine(path, calls, name, flash=flash) for name in layouts}
    for name, command in commands.items():
        sides[name] = Server(command, path, calls)
    return sides


class Engine:
    """ChatLlama's session; counts the processor time inside llama.cpp."""

    def __init__(self, path: Path, parallel: int, layout: Any, *, flash: bool, **options: Any) -> None:
        self.model = ChatLlama(
            model_path=path,
            n_ctx=WINDOW,
            n_parallel=parallel,
            n_threads=1,
            probe=False,
            flash_attn=flash,
            kv_layout=layout,
            **options,
        )
        self.session = self.model.session
        self.session.token_ids("load it")
        self.decode_s = 0.0
        native = self.session._loaded.native  # type: ignore[union-attr]
        for name in ("decode", "state", "restore", "tokenize"):
            setattr(native, name, self._timed(getattr(native, name)))

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function`` of llama.cpp, whose processor time is counted."""

        def call(*args: Any, **options: Any) -> Any:
            began = time.thread_time()
            try:
                return function(*args, **options)
            finally:
                self.decode_s += time.thread_time() - began

        return call

    async def ask(self, messages: Messages, tokens: int) -> AsyncIterator[int]:
        async for event in self.session.stream(Ask(messages=messages, max_tokens=tokens, sampling=Sampling())):
            yield 0 if isinstance(event, str) else event.completion_tokens

    def cpu_s(self) -> float:
        return time.process_time()

    def close(self) -> None:
        self.model.close()


class Locked:
    """What people do with ``Llama``: one call at a time, each stream pumped out of a thread."""

    def __init__(self, path: Path, *, flash: bool) -> None:
        from llama_cpp import Llama

        self.llama = Llama(
            str(path), n_ctx=WINDOW, n_batch=512, n_threads=1, n_threads_batch=1, verbose=False, flash_attn=flash
        )
        self.lock = asyncio.Lock()
        self.decode_s = 0.0

    async def ask(self, messages: Messages, tokens: int) -> AsyncIterator[int]:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def pump() -> None:
            for chunk in self.llama.create_chat_completion(messages, max_tokens=tokens, temperature=0.0, stream=True):
                loop.call_soon_threadsafe(queue.put_nowait, chunk)
            loop.call_soon_threadsafe(queue.put_nowait, None)

        async with self.lock:
            task = asyncio.create_task(asyncio.to_thread(pump))
            while (chunk := await queue.get()) is not None:
                reason = chunk["choices"][0]["finish_reason"]
                if chunk["choices"][0]["delta"].get("content") is not None:
                    yield 0
            await task
        yield tokens if reason == "length" else 0

    def cpu_s(self) -> float:
        return time.process_time()

    def close(self) -> None:
        self.llama.close()


class Server:
    """A program with OpenAI's HTTP interface on a port of this machine. Its processor time is that of its process."""

    def __init__(self, command: str, path: Path, calls: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        filled = command.format(model=path, port=port, calls=calls, cells=WINDOW * calls, window=WINDOW)
        self.process = subprocess.Popen(shlex.split(filled), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.decode_s = 0.0
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)  # servers close idle ones
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=600, limits=limits)
        end = time.monotonic() + 120
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/v1/models").status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            if time.monotonic() > end or self.process.poll() is not None:
                raise SystemExit(f"The server does not answer: {filled}")
            time.sleep(0.2)

    async def ask(self, messages: Messages, tokens: int) -> AsyncIterator[int]:
        body = {"messages": messages, "max_tokens": tokens, "temperature": 0, "stream": True, "model": "m"}
        reason = ""
        async with self.client.stream("POST", "/v1/chat/completions", json=body) as answer:
            async for line in answer.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                choice = (json.loads(line[6:]).get("choices") or [{}])[0]
                reason = choice.get("finish_reason") or reason
                if (choice.get("delta") or {}).get("content"):
                    yield 0
        yield tokens if reason == "length" else 0

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
