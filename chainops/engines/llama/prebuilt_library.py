"""The one place that imports xllamacpp: llama.cpp's server inside a wheel, for machines without a compiler."""

from __future__ import annotations

import http.client
import json
import secrets
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainops.engines.llama.calling import CLOSE, OPEN
from chainops.engines.llama.request import Ask
from chainops.errors import CallError, MissingExtra, SetupError

if TYPE_CHECKING:
    from chainops.engines.llama.loading import ModelOptions

__all__ = ["PrebuiltServer", "answer_rules", "prebuilt_version", "use_prebuilt"]

KV_TYPES = {"f16": 1, "q8_0": 8, "q4_0": 2}
QUIET = -1


def use_prebuilt() -> bool:
    """True where xllamacpp is there and llama-cpp-python is not."""
    return find_spec("llama_cpp") is None and find_spec("xllamacpp") is not None


@cache
def prebuilt_version() -> str | None:
    """Version of the installed xllamacpp, without loading it."""
    try:
        return version("xllamacpp")
    except PackageNotFoundError:
        return None


class PrebuiltServer:
    """A loaded model. Several threads may call it.

    Args:
        path: the model file.
        options: how it is opened; those that this engine cannot honour were refused before.
        n_ctx: tokens of context of each call.
        n_threads: that compute.

    Raises:
        MissingExtra: xllamacpp is not installed.
        SetupError: code ``setup.model_load``.
    """

    def __init__(self, path: Path, options: ModelOptions, *, n_ctx: int, n_threads: int) -> None:
        try:
            import xllamacpp
        except ModuleNotFoundError:
            raise MissingExtra("llama-prebuilt", package="xllamacpp", needed_for="A local llama.cpp model") from None
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_parallel = options.n_parallel
        params.n_ctx = options.n_cells or n_ctx * options.n_parallel
        params.n_batch = params.n_ubatch = max(options.n_batch, 32)
        params.kv_unified = options.kv_layout == "unified" or options.n_cells is not None
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = n_threads
        params.n_gpu_layers = -1 if options.n_gpu_layers == "auto" else options.n_gpu_layers
        flash = xllamacpp.llama_flash_attn_type
        params.flash_attn_type = (
            flash.LLAMA_FLASH_ATTN_TYPE_ENABLED if options.flash_attn else flash.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
        params.cache_type_k = params.cache_type_v = KV_TYPES[options.kv_type]
        params.cache_ram_mib = 0 if options.n_kept == 0 else params.cache_ram_mib
        params.warmup, params.verbosity, params.ui = False, QUIET, False
        # It listens on a port of this machine as well, which nobody else shall use.
        self._key = secrets.token_urlsafe(32)
        params.api_keys, params.hostnames, params.port = [self._key], ["127.0.0.1"], 0
        try:
            self._server: Any = xllamacpp.Server(params)
        except Exception as error:
            raise SetupError(
                f"xllamacpp cannot load {path}: {error}",
                hint="Use a model that the installed xllamacpp knows, or give a smaller n_ctx or n_parallel.",
                code="setup.model_load",
            ) from error
        self._address = str(self._server.listening_address).rpartition("/")[2]

    def complete(self, body: dict[str, Any], take: Any) -> None:
        """Answer; ``take`` gets each piece as a dictionary, and ends the answer by returning True. Blocks."""
        self._server.handle_completions(body, take)

    def tokenize(self, text: str, special: bool, start: bool) -> list[int]:
        """Token ids of ``text``. ``special``: control tokens are recognised; ``start``: begin of a prompt."""
        connection = http.client.HTTPConnection(self._address, timeout=60)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"}
        asked = json.dumps({"content": text, "parse_special": special, "add_special": start})
        try:
            connection.request("POST", "/tokenize", asked.encode(errors="replace"), headers)
            answer = connection.getresponse()
            data = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise CallError(f"xllamacpp cannot tokenize a text of {len(text)} characters", code="call.tokenize")
        return [int(token) for token in data["tokens"]]

    def close(self) -> None:
        """Free the model. No call may run."""
        self._server = None


def answer_rules(ask: Ask) -> str:
    """Rules of llguidance for what the answer to ``ask`` may be; empty: any text."""
    calls = [_call(tool["function"]) for tool in ask.tools]
    if ask.forced:
        chosen = [
            c for c, tool in zip(calls, ask.tools, strict=True) if ask.forced in ("any", tool["function"]["name"])
        ]
        return _rules(_marked(chosen))
    if not ask.answer_schema:
        return ""
    whole = f"%json {_compact(json.loads(ask.answer_schema))}"
    return _rules(f"({_marked(calls)})+ | {whole}" if ask.tools_callable else whole)


def _rules(start: str) -> str:
    return f"%llguidance {{}}\nstart: {start}\n"


def _marked(calls: list[str]) -> str:
    return f'"{OPEN}" /\\n?/ ({" | ".join(calls)}) /\\n?/ "{CLOSE}"'


def _call(function: Any) -> str:
    arguments = {"type": "object", "properties": {}, **(function.get("parameters") or {})}
    definitions = arguments.pop("$defs", None)
    schema = {
        "type": "object",
        "properties": {"name": {"const": function["name"]}, "arguments": arguments},
        "required": ["name", "arguments"],
        "additionalProperties": False,
        **({"$defs": definitions} if definitions else {}),
    }
    return f"%json {_compact(schema)}"


def _compact(schema: dict[str, Any]) -> str:
    """The schema, without the freedom to write blanks for ever."""
    return json.dumps({**schema, "x-guidance": {"whitespace_flexible": False}})
