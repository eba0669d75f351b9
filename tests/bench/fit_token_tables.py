"""Makes the tables of ``chainops/middleware/compress/token_tables.py`` and measures their error.

``python tests/bench/fit_token_tables.py TOKENIZERS TEXTS``. ``TOKENIZERS``: a folder with vocabularies: ``NAME.gguf``
(llama.cpp), ``NAME.json`` (tokenizers) or ``NAME.tiktoken``. ``TEXTS``: a folder of text files, one kind of text each
(``english.txt``, ``code.txt`` ...). Every text is cut into pieces of 2,000 characters; even pieces make the table, odd
ones measure it: per kind the worst relative error of the sum of ten pieces in a row.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from chainops.middleware.compress.token_features import FEATURES, features

PIECE = 2000
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
    r"|\s+(?!\S)|\s"
)


def tokenizer(path: Path) -> Callable[[str], int]:
    if path.suffix == ".gguf":
        from llama_cpp import Llama

        model = Llama(str(path), vocab_only=True, verbose=False)
        return lambda text: len(model.tokenize(text.encode(), add_bos=False, special=False))
    if path.suffix == ".json":
        from tokenizers import Tokenizer

        found = Tokenizer.from_file(str(path))
        return lambda text: len(found.encode(text, add_special_tokens=False).ids)
    import tiktoken

    ranks = {base64.b64decode(token): int(rank) for token, rank in map(str.split, path.read_text().splitlines())}
    pattern = O200K if "o200k" in path.name else CL100K
    encoding = tiktoken.Encoding(path.stem, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return lambda text: len(encoding.encode_ordinary(text))


def least_squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Weights that are not negative, by projected gradient."""
    scale = np.maximum(np.linalg.norm(a, axis=0), 1e-9)
    a = a / scale
    gram, aim = a.T @ a, a.T @ b
    step = 1 / np.linalg.norm(gram, 2)
    x = np.zeros(a.shape[1])
    y, t = x, 1.0
    for _ in range(20_000):
        new = np.maximum(y - step * (gram @ y - aim), 0)
        t_new = (1 + np.sqrt(1 + 4 * t * t)) / 2
        y, x, t = new + (t - 1) / t_new * (new - x), new, t_new
    return x / scale


def main() -> None:
    vocabularies, texts = (Path(name) for name in sys.argv[1:3])
    pieces = {
        file.stem: [t[i : i + PIECE] for t in [file.read_text("utf-8")] for i in range(0, len(t) - PIECE, PIECE)]
        for file in sorted(texts.glob("*.txt"))
    }
    rows = {kind: np.array([features(piece) for piece in found]) for kind, found in pieces.items()}
    for path in sorted(vocabularies.iterdir()):
        count = tokenizer(path)
        real = {kind: np.array([count(piece) for piece in found], float) for kind, found in pieces.items()}
        a = np.concatenate([rows[k][::2] / real[k][::2, None] / np.sqrt(len(real[k])) for k in pieces])
        b = np.concatenate([np.ones(len(real[k][::2])) / np.sqrt(len(real[k])) for k in pieces])
        weights = np.round(least_squares(a, b), 3)
        errors = {}
        for kind in pieces:
            guess, truth = rows[kind][1::2] @ weights, real[kind][1::2]
            sums = [(guess[i : i + 10].sum(), truth[i : i + 10].sum()) for i in range(0, max(len(truth) - 9, 1), 10)]
            errors[kind] = max((g / t - 1 for g, t in sums), key=abs)
        print(f'    "{path.stem}": {tuple(map(float, weights))},', flush=True)
        print("    #", json.dumps({k: round(v, 3) for k, v in errors.items()}), file=sys.stderr, flush=True)
    print(FEATURES, {k: len(v) for k, v in pieces.items()}, file=sys.stderr)


if __name__ == "__main__":
    main()
