"""What compression keeps, and what it costs: retention of answers, throughput, overhead, end to end on a local model.

``python tests/bench/bench_compress.py [--data questions.jsonl] [--model FILE.gguf] [--rounds 7] [--meaning]
[--no-styles] [--json]``. Without ``--model`` one with random weights is made (27 MB): what it says is noise, how long
it reads is real.

* retention: share of questions of which a sentence with the answer is left, word for word, beside five other methods;
  on made questions in eleven forms, and on those of ``--data``
* tokens per second of the lexical stages, counting included (CPU time, one thread)
* microseconds that the layer adds to a call whose prompt fits: where bytes alone prove it, and where it is counted
* end to end: one call with the layer / the same call without, prompts of 3,000 tokens (4 to 1) and short ones; every
  prompt begins with another word, both sides alternate, the ratio is the median over rounds of one side by the other
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from random_model import write_random_model
from repeated import Spent, medians

from chainops import Pipeline
from chainops.calls import ModelCall, ModelResult
from chainops.middleware.compress import Compress, compress_text
from chainops.middleware.compress.bench.measure import lines, measure
from chainops.middleware.compress.bench.methods import methods
from chainops.middleware.compress.bench.questions import made, read
from chainops.middleware.compress.bench.styles import STYLES, styled
from chainops.middleware.compress.counting import Counts, TableCounter
from chainops.testing import model_call

ANSWER = 8  # tokens of each answer, so that reading decides


def fresh_count() -> Any:
    return Counts(TableCounter("o200k")).text


def retention(data: Path | None, meaning: bool, forms: bool) -> dict[str, Any]:
    from chainops.engines.embeddings import embedder

    found: dict[str, Any] = {}
    styles = {style: styled(style, 60) for style in STYLES if forms}
    for name, questions in {"made": made(200), **({"data": read(data)} if data else {}), **styles}.items():
        judge = embedder() if meaning else None
        rows = asyncio.run(measure(questions, methods(judge), (0.2, 0.1), fresh_count()))
        print(f"\n{name}: {len(questions)} questions\n" + "\n".join(lines(rows)), file=sys.stderr, flush=True)
        for row in rows:
            found[f"{name}, {row.method}, {row.budget:.0%}: sentence"] = row.sentence
            found[f"{name}, {row.method}, {row.budget:.0%}: answer"] = row.answer
    return found


def throughput(rounds: int) -> dict[str, list[float]]:
    """All lexical stages on texts of several kinds, counted anew each time; after a round that warms up."""
    rows = [{"id": i, "name": f"item {i}", "note": None} for i in range(300)]
    log = "\n".join(
        f"2026-01-01 12:{i // 60:02d}:{i % 60:02d} INFO request {i} took {i * 7 % 90} ms" for i in range(400)
    )
    prose = [question.context for question in made(60)]
    texts = [*prose, json.dumps(rows, indent=2), log]
    tokens = sum(map(fresh_count(), texts))
    found = []
    for _ in range(rounds + 1):
        spent = 0.0
        for number, text in enumerate(texts):
            count = fresh_count()
            started = time.process_time()
            asyncio.run(compress_text(text, 150, count=count, query=f"item {number} of 2026", strategy="aggressive"))
            spent += time.process_time() - started
        found.append(tokens / spent)
    return {"lexical stages, tokens/s": found[1:]}


async def engine(call: ModelCall) -> ModelResult:
    return ModelResult(message=AIMessage("ok"))


async def overhead(rounds: int) -> dict[str, list[float]]:
    """Ten messages that fit, made before; the median over rounds of the difference in CPU time, in microseconds."""
    messages: list[Any] = [SystemMessage("Be kind. " * 30)]
    for i in range(5):
        messages += [HumanMessage(f"question {i} " * 20), AIMessage(f"answer {i} " * 30)]
    found = {}
    for name, window in {"bytes prove it": 100_000, "counted": 3500}.items():
        handler = Pipeline([Compress(windows={"*": window})]).around_model(engine)
        calls = [model_call(messages=tuple(messages), name="gpt-4o", engine=engine) for _ in range(200)]
        for call in calls:
            await handler(call)
        differences = []
        for _ in range(rounds * 5):
            times = []
            for work in (engine, handler):
                started = time.process_time()
                for call in calls:
                    await work(call)
                times.append((time.process_time() - started) / len(calls) * 1e6)
            differences.append(times[1] - times[0])
        found[f"overhead when it fits, {name}, us"] = differences
    return found


async def end_to_end(path: Path, rounds: int) -> dict[str, Any]:
    from chainops.engines.llama import ChatLlama

    model = ChatLlama(model_path=path, n_ctx=16_384, max_tokens=ANSWER, temperature=0, probe=False, timeout=300)

    async def ask(call: ModelCall) -> ModelResult:
        return ModelResult(message=await model.ainvoke(list(call.messages)))  # type: ignore[arg-type]

    long = made(rounds + 2, seed=11, passages=12)
    size = model.count_tokens(long[0].context)
    sides = {
        "without": Pipeline([]).around_model(ask),
        "with": Pipeline([Compress(target_tokens=size // 4, strategy="balanced")]).around_model(ask),
    }
    found: dict[str, Any] = {"long prompt, tokens": size}
    try:
        for kind in ("long", "short"):
            clocks: dict[str, list[float]] = {"": [], ", CPU": []}
            before, after = [], []
            for number in range(rounds + 2 if kind == "long" else 12 * rounds + 2):
                took, question = {}, long[number % len(long)]
                for side in ("without", "with") if number % 2 else ("with", "without"):
                    text = f"{number} {side:7}\n\n" + (question.context if kind == "long" else "Some words.")
                    text += f"\n\n{question.text}"
                    call = model_call(messages=(HumanMessage(text),), model=model, name=model.model_name)
                    with Spent() as took[side]:
                        result = await sides[side](call)
                    usage = result.message.usage_metadata
                    (after if side == "with" else before).append(usage["input_tokens"] if usage else 0)
                if number >= 2:  # the first rounds load the model and measure how fast it reads
                    clocks[""].append(took["with"].wall / took["without"].wall)
                    clocks[", CPU"].append(took["with"].cpu / took["without"].cpu)
            for clock, values in clocks.items():
                found[f"end to end, {kind} prompt, with / without{clock}"] = values
            found[f"{kind} prompt, tokens with / without"] = sum(after) / sum(before)
    finally:
        model.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--meaning", action="store_true")
    parser.add_argument("--no-styles", action="store_true", help="made questions in their plain form only")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results: dict[str, Any] = retention(options.data, options.meaning, not options.no_styles)
    figures: dict[str, Any] = throughput(options.rounds) | asyncio.run(overhead(options.rounds))
    with tempfile.TemporaryDirectory() as folder:
        path = options.model or write_random_model(Path(folder) / "random.gguf", "26MB")
        figures |= asyncio.run(end_to_end(path, options.rounds))
    if options.json:
        print(json.dumps(results | figures, indent=2))
        return
    print()
    for name, value in medians(figures).items():
        print(f"{name:45} {value:12,.2f}")


if __name__ == "__main__":
    main()
