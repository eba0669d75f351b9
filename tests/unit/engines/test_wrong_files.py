"""A corpus of wrong model files, made from a sound one: each is refused or runs, and none takes this process with it.

``CHAINOPS_FUZZ=5000`` makes as many files in place of 300, and tries as many in another process as pass the check.
"""

from __future__ import annotations

import os
import random
import struct
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chainops.engines.llama.model_file import check_model_file
from chainops.errors import SetupError

from .tiny_gguf import ARRAY, BOOL, F32, I32, STRING, U32, Model, chain_model

FILES = int(os.environ.get("CHAINOPS_FUZZ", "300"))
TRIALS = 5 if FILES == 300 else FILES
NUMBERS = [0, 1, 2, 3, 7, 31, 63, 64, 65, 1023, 1 << 15, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]
FLOATS = [0.0, -1.0, 1e-30, 1e30, float("nan"), float("inf")]
TEXTS = ["", "\0", "llama", "gpt2", "bert", "mamba", "falcon", "x" * 5000, "\u2581", "{% for x in y %}", "{{ 9 ** 9 }}"]
Change = Callable[[Model, random.Random], None]


def another_value(model: Model, dice: random.Random) -> None:
    key = dice.choice(list(model.metadata))
    kind, item = model.metadata[key]
    if kind == ARRAY:
        inner, items = item
        cut = list(items)
        for _ in range(dice.randint(1, 3)):
            place = dice.randrange(len(cut)) if cut else 0
            match dice.randrange(4):
                case 0:
                    cut = cut[:place]
                case 1:
                    cut = cut + cut[:place]
                case 2 if cut:
                    cut[place] = dice.choice(TEXTS) if inner == STRING else dice.choice(NUMBERS[:13])
                case _:
                    dice.shuffle(cut)
        model.metadata[key] = ARRAY, (inner, cut)
    else:
        choices: dict[int, list[Any]] = {
            U32: NUMBERS,
            I32: NUMBERS[:13],
            F32: FLOATS,
            STRING: TEXTS,
            BOOL: [True, False],
        }
        model.metadata[key] = kind, dice.choice(choices[kind])


def another_type(model: Model, dice: random.Random) -> None:
    key = dice.choice(list(model.metadata))
    kinds: dict[int, list[Any]] = {U32: NUMBERS, F32: FLOATS, STRING: TEXTS, BOOL: [True, False]}
    kind = dice.choice(list(kinds))
    model.metadata[key] = kind, dice.choice(kinds[kind])


def no_such_key(model: Model, dice: random.Random) -> None:
    del model.metadata[dice.choice(list(model.metadata))]


def another_tensor(model: Model, dice: random.Random) -> None:
    name = dice.choice(list(model.tensors))
    shape, values = model.tensors[name]
    match dice.randrange(4):
        case 0:
            del model.tensors[name]
        case 1:
            model.tensors[name] = (shape[::-1], values)
        case 2:
            sides = list(shape)
            sides[dice.randrange(len(sides))] = dice.choice([0, 1, 31, 32, 33, 1 << 20, 1 << 40, (1 << 64) - 1])
            model.tensors[name] = (tuple(sides), values)
        case _:
            odd = array("f", dice.choices([float("nan"), float("inf"), 1e38, 0.0], k=len(values)))
            model.tensors[name] = (shape, odd)


CHANGES: list[Change] = [another_value, another_value, another_type, no_such_key, another_tensor]


def corpus(seed: int, count: int) -> Iterator[bytes]:
    """Wrong files: changed in their structure, in their bytes, or in both."""
    dice = random.Random(seed)
    folder = Path(os.environ.get("TMPDIR", "/tmp"))
    scratch = folder / f"chainops-fuzz-{os.getpid()}.gguf"
    try:
        for _ in range(count):
            model = chain_model([b"aa", b"b"], context=256)
            for _ in range(dice.choice([0, 1, 1, 2, 3])):
                dice.choice(CHANGES)(model, dice)
            data = bytearray(model.write(scratch).read_bytes())
            head = min(len(data), 12_000)
            for _ in range(dice.choice([0, 0, 1, 4])):
                data[dice.randrange(head)] = dice.randrange(256)
            match dice.randrange(12):
                case 0:
                    del data[dice.randrange(len(data)) :]
                case 1:
                    data += bytes(dice.randrange(1000))
                case 2:
                    place = dice.randrange(8, head - 8)
                    data[place : place + 8] = struct.pack("<Q", dice.choice([0, 1 << 31, 1 << 62, (1 << 64) - 1]))
                case _:
                    pass
            yield bytes(data)
    finally:
        scratch.unlink(missing_ok=True)


def passing(path: Path, seed: int) -> Iterator[int]:
    """Numbers of those files of the corpus that pass the check; ``path`` holds the file meanwhile."""
    for number, data in enumerate(corpus(seed, FILES)):
        path.write_bytes(data)
        try:
            check_model_file(path)
        except SetupError as error:
            assert error.code == "setup.model_file"
            assert error.hint
            continue
        yield number


def test_every_file_is_refused_with_a_reason_or_passes(tmp_path: Path) -> None:
    passed = list(passing(tmp_path / "model.gguf", seed=11))
    assert FILES * 0.02 < len(passed) < FILES * 0.5  # the corpus is wrong enough, and not all too wrong


@pytest.mark.llama
def test_what_passes_the_check_runs_or_dies_in_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llama_cpp", reason="llama-cpp-python (the [llama] extra) is not installed")
    from chainops.engines.llama import ChatLlama

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path, tried, answered = tmp_path / "model.gguf", 0, 0
    for _ in passing(path, seed=12):
        if tried == TRIALS:
            break
        tried += 1
        model = ChatLlama(model_path=path, max_tokens=4, n_parallel=2)
        try:
            model.invoke("hi")
            answered += 1
        except Exception as error:
            assert type(error).__module__.startswith("chainops."), repr(error)
        finally:
            model.close()
    assert tried == TRIALS or FILES != 300
    assert answered <= tried
