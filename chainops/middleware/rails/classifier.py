"""A text classifier from a folder of this machine as a rail: ONNX, or what transformers reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from chainops.errors import MissingExtra, SetupError
from chainops.middleware.rails.jailbreak.head import windows
from chainops.middleware.rails.jailbreak.views import plain
from chainops.middleware.rails.rail import Rail, Subject
from chainops.middleware.rails.verdict import ALLOW, Policy, Verdict

__all__ = ["Classifier"]

HARMLESS = frozenset(
    [
        "0",
        "label_0",
        "safe",
        "benign",
        "neutral",
        "harmless",
        "normal",
        "ok",
        "none",
        "clean",
        "non-toxic",
        "not-toxic",
        "nontoxic",
        "non_toxic",
        "not_toxic",
        "legit",
    ]
)
MOST = 32  # windows of one text
Scores = Callable[[Sequence[str]], list[dict[str, float]]]


class Classifier(Rail):
    """Asks a classifier in a folder: one made for prompt injection, or for toxicity. Nothing is downloaded.

    The folder has ``tokenizer.json``, ``config.json`` with ``id2label``, and ``model.onnx`` (needs ``[onnx]``), or what
    transformers reads. A text is judged window by window; the highest score counts.

    Args:
        bad: labels that count, by name; None: all but the usual names for harmless texts.
        flag, block: scores in [0, 1].

    Raises:
        SetupError: ``setup.rail``: the folder lacks something, or has no label that counts.
        MissingExtra: neither onnxruntime nor transformers fits.
    """

    waits: ClassVar[bool] = True

    def __init__(
        self,
        name: str,
        folder: str | Path,
        *,
        bad: Iterable[str] | None = None,
        flag: float = 0.5,
        block: float = 0.9,
        **options: Any,
    ) -> None:
        options.setdefault("timeout_s", 30.0)
        super().__init__(name, **options)
        self.folder, self.flag, self.block = Path(folder), flag, block
        if not 0 <= flag <= block <= 1:
            raise self._wrong(f"has flag={flag}, block={block}")
        labels = self._labels()
        self.bad = frozenset(labels if bad is None else bad) - (HARMLESS if bad is None else frozenset())
        self.bad = frozenset(b for b in self.bad if bad is not None or b.lower() not in HARMLESS)
        if not self.bad or not self.bad <= set(labels):
            raise self._wrong(
                f"has the labels {sorted(labels)}, of which none or not all of {sorted(self.bad)} can count"
            )
        self._scores: Scores = self._onnx(labels) if (self.folder / "model.onnx").is_file() else self._transformers()

    def describe(self) -> dict[str, Any]:
        """Its folder's name, labels and thresholds."""
        return {
            **super().describe(),
            "folder": self.folder.name,
            "bad": sorted(self.bad),
            "flag": self.flag,
            "block": self.block,
        }

    async def check(self, subject: Subject) -> Verdict:
        """The highest score of a label that counts."""
        score, label = await asyncio.to_thread(self.score, subject.text)
        if score < self.flag:
            return ALLOW
        policy: Policy | None = None if score >= self.block else "flag"
        return Verdict("block", f"{label} {score:.2f}", label, score=score, policy=policy)

    def score(self, text: str) -> tuple[float, str]:
        """The highest score of a label that counts, and the label; 0 and nothing for a text without words. Blocks."""
        parts = windows(plain(text))
        if not parts:
            return 0.0, ""
        rows = self._scores(parts[:: -(-len(parts) // MOST)])
        return max((row.get(label, 0.0), label) for row in rows for label in self.bad)

    def _labels(self) -> list[str]:
        try:
            config = json.loads((self.folder / "config.json").read_text("utf-8"))
            self._each_alone = config.get("problem_type") == "multi_label_classification"
            found = config["id2label"]
            return [str(found[key]) for key in sorted(found, key=int)]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._wrong(f"has no config.json with id2label: {error!r}") from None

    def _onnx(self, labels: list[str]) -> Scores:
        try:
            import numpy as np
            import onnxruntime
            from tokenizers import Tokenizer
        except ModuleNotFoundError as error:
            raise MissingExtra("onnx", package=str(error.name), needed_for="A classifier in ONNX") from None
        try:
            tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
            session = onnxruntime.InferenceSession(str(self.folder / "model.onnx"), providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 - whatever the two raise for a bad file
            raise self._wrong(f"cannot be loaded: {error}") from None
        tokenizer.enable_truncation(512)
        tokenizer.enable_padding()
        wanted = {each.name for each in session.get_inputs()}

        def scores(texts: Sequence[str]) -> list[dict[str, float]]:
            encoded = tokenizer.encode_batch(list(texts))
            given = {
                "input_ids": np.array([e.ids for e in encoded], dtype=np.int64),
                "attention_mask": np.array([e.attention_mask for e in encoded], dtype=np.int64),
                "token_type_ids": np.array([e.type_ids for e in encoded], dtype=np.int64),
            }
            raw = np.asarray(session.run(None, {k: v for k, v in given.items() if k in wanted})[0], dtype=np.float64)
            if self._each_alone:  # several labels may be true of one text
                rows = 1.0 / (1.0 + np.exp(-raw))
            else:
                grown = np.exp(raw - raw.max(axis=1, keepdims=True))
                rows = grown / grown.sum(axis=1, keepdims=True)
            return [dict(zip(labels, map(float, row), strict=True)) for row in rows]

        return scores

    def _transformers(self) -> Scores:
        try:
            from transformers import pipeline  # type: ignore[import-not-found,unused-ignore]
        except ModuleNotFoundError:
            raise MissingExtra(
                "embeddings", package="transformers", needed_for="A classifier that is no ONNX"
            ) from None
        try:
            ask = pipeline("text-classification", model=str(self.folder), tokenizer=str(self.folder), top_k=None)
        except Exception as error:  # noqa: BLE001 - whatever it raises for a bad folder
            raise self._wrong(f"cannot be loaded: {error}") from None

        def scores(texts: Sequence[str]) -> list[dict[str, float]]:
            rows = ask(list(texts), truncation=True)
            return [{str(each["label"]): float(each["score"]) for each in row} for row in rows]

        return scores

    def _wrong(self, problem: str) -> SetupError:
        return SetupError(
            f"The classifier {self.folder} {problem}",
            hint="A folder with model.onnx (or weights), tokenizer.json and config.json; bad=[...] names its labels.",
            code="setup.rail",
        )
