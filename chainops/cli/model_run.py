"""``chainops model fit``, ``run`` and ``bench``: for registered models and for files."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainops.cli.options import DEFAULT_DB, Json, ModelsDb
from chainops.cli.trace_io import print_json, print_rich, size_in_bytes

if TYPE_CHECKING:
    from chainops.engines.llama.chat_model import ChatLlama
    from chainops.engines.llama.model_file import ModelFile

__all__ = ["bench", "fit_command", "run_model"]

What = Annotated[str, typer.Argument(help="A GGUF file, or a registered NAME, NAME@LABEL, NAME@VERSION.")]
Context = Annotated[int | None, typer.Option("--ctx", min=8, help="Tokens of context; else as trained, at most 4096.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Threads that compute.")]
DEFAULT_CONTEXT = 4096


class KvType(StrEnum):
    """Types of the key-value cache."""

    f16 = "f16"
    q8_0 = "q8_0"
    q4_0 = "q4_0"


def _file(what: str, db: Path) -> ModelFile:
    from chainops.engines.llama.model_file import check_model_file
    from chainops.engines.llama.registered import find

    if Path(what).is_file():
        return check_model_file(what)
    from chainops.cli.model_io import look

    look(db)
    return check_model_file(find(db, what).value()["path"])


def _model(what: str, db: Path, **options: Any) -> ChatLlama:
    from chainops.engines.llama.chat_model import ChatLlama
    from chainops.engines.llama.registered import open_registered

    given = {name: value for name, value in options.items() if value is not None}
    if Path(what).is_file():
        return ChatLlama(model_path=what, **given)
    from chainops.cli.model_io import look

    look(db)
    return open_registered(what, path=db, **given)


def fit_command(
    model: What,
    db: ModelsDb = DEFAULT_DB,
    ctx: Context = None,
    sequences: Annotated[int, typer.Option("--sequences", min=1, help="Calls that run at once.")] = 1,
    batch: Annotated[int, typer.Option("--batch", min=8, help="Tokens of a prompt per step.")] = 256,
    kv: Annotated[KvType, typer.Option("--kv", help="How keys and values are stored.")] = KvType.f16,
    flash_attn: Annotated[bool, typer.Option("--flash-attn", help="With flash attention.")] = False,
    memory: Annotated[str | None, typer.Option("--memory", metavar="SIZE", help="Free memory, else measured.")] = None,
    gpu_memory: Annotated[
        str | None, typer.Option("--gpu-memory", metavar="SIZE", help="Free memory of a GPU, else asked for.")
    ] = None,
    threads: Threads = None,
    speed: Annotated[bool, typer.Option("--speed/--no-speed", help="Measure the memory's bandwidth.")] = True,
    check: Annotated[bool, typer.Option("--check", help="Exit code 1 when it does not fit.")] = False,
    as_json: Json = False,
) -> None:
    """What a model needs and what there is: memory, layers on the GPU, tokens per second. Loads nothing."""
    from dataclasses import asdict

    from chainops.cli.model_io import fit_table
    from chainops.engines.llama import fit as fitting
    from chainops.engines.llama.weights import read_weights

    file = _file(model, db)
    read = read_weights(file).per_token
    found = fitting.fit(
        file,
        n_ctx=ctx or min(file.trained_context, DEFAULT_CONTEXT),
        sequences=sequences,
        n_batch=batch,
        kv_type=kv.value,
        flash_attn=flash_attn,
        ram=None if memory is None else size_in_bytes(memory),
        gpu=_gpu() if gpu_memory is None else size_in_bytes(gpu_memory),
        bandwidth=fitting.read_bandwidth(read, threads=threads) if speed else None,
    )
    print_json(asdict(found)) if as_json else print_rich(fit_table(found))
    if check and not found.fits:
        raise typer.Exit(1)


def _gpu() -> int | None:
    from chainops.engines.llama.fit import gpu_memory
    from chainops.errors import MissingExtra

    try:
        return gpu_memory()
    except MissingExtra:
        return None


def run_model(
    model: What,
    prompt: Annotated[list[str] | None, typer.Argument(help="What to ask, one after the other; - reads stdin.")] = None,
    db: ModelsDb = DEFAULT_DB,
    system: Annotated[str, typer.Option("--system", help="What the model is told first.")] = "",
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="The longest answer.")] = 512,
    temperature: Annotated[float, typer.Option("--temperature", min=0, help="0: always the likeliest token.")] = 0.0,
    seed: Annotated[int | None, typer.Option("--seed", help="Same seed, same text.")] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option("--adapter", metavar="WHAT[=SCALE]", help="A LoRA adapter: a file or a registered name; again."),
    ] = None,
    ctx: Context = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Ask a model. The answer comes as it is generated; timings go to stderr."""
    from chainops.errors import SetupError

    questions = [sys.stdin.read() if text == "-" else text for text in prompt or ()]
    if not questions:
        raise SetupError("There is nothing to ask", hint="Give a text, or - to read it from stdin.", code="setup.args")
    scales = dict(map(_scaled, adapter or ()))
    named = {what: what for what in scales} or None
    opened = _model(model, db, n_ctx=ctx, n_threads=threads, adapters=named, adapter=scales or None)
    try:
        talk: list[tuple[str, Any]] = [("system", system)] if system else []
        for question in questions:
            talk.append(("human", question))
            whole: Any = None
            for chunk in opened.stream(talk, max_tokens=max_tokens, temperature=temperature, seed=seed):
                if not as_json:
                    typer.echo(chunk.text, nl=False)
                whole = chunk if whole is None else whole + chunk
            talk.append(("ai", str(whole.text)))
            facts = {"usage": whole.usage_metadata, "metadata": whole.response_metadata}
            if as_json:
                print_json({"question": question, "answer": str(whole.text), **facts})
                continue
            timings = whole.response_metadata["timings"]
            typer.echo("")
            typer.echo(
                f"{whole.usage_metadata['input_tokens']} + {whole.usage_metadata['output_tokens']} tokens, first after "
                f"{timings['ttft_ms']:.0f} ms, then {timings['tokens_per_second']:.0f} per second",
                err=True,
            )
    finally:
        opened.close()


def _scaled(text: str) -> tuple[str, float]:
    """An adapter and its scale, from WHAT or WHAT=SCALE."""
    from chainops.errors import SetupError

    what, _, scale = text.rpartition("=") if "=" in text else (text, "", "1")
    try:
        return what, float(scale)
    except ValueError:
        raise SetupError(
            f"--adapter {text!r}: {scale!r} is no number", hint="Write FILE=0.5, for example.", code="setup.args"
        ) from None


def bench(
    model: What,
    db: ModelsDb = DEFAULT_DB,
    prompt_tokens: Annotated[int, typer.Option("--prompt-tokens", min=8, help="About so many.")] = 256,
    tokens: Annotated[int, typer.Option("--tokens", min=8, help="To generate, at most.")] = 64,
    repeat: Annotated[int, typer.Option("--repeat", min=1, help="Rounds; the best and the median are told.")] = 5,
    ctx: Context = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Measure a model: prompt and answer, in tokens per second, against what the memory's bandwidth allows."""
    from chainops.engines.llama.bench import measure

    file = _file(model, db)
    opened = _model(model, db, n_ctx=ctx, n_threads=threads)
    try:
        found = measure(opened, file, prompt_tokens=prompt_tokens, tokens=tokens, repeat=repeat)
    finally:
        opened.close()
    if as_json:
        print_json(found)
        return
    typer.echo(f"prompt   {found['prefill_tps']:.0f} tokens/s (median {found['prefill_tps_median']:.0f})")
    typer.echo(f"answer   {found['decode_tps']:.0f} tokens/s (median {found['decode_tps_median']:.0f})")
    typer.echo(
        f"memory   {found['bandwidth'] / 1e9:.1f} GB/s with {found['threads']} threads allow {found['limit_tps']:.0f} "
        f"tokens/s: {found['share_of_limit']:.0%} reached"
    )
