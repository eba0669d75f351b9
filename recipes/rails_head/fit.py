"""Fitting in numpy alone: exemplars by spherical k-means, a logistic regression, a network of one layer."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["exemplars", "logistic", "network"]


def exemplars(vectors: Any, count: int, *, seed: int = 3, rounds: int = 15) -> Any:
    """``count`` unit vectors that stand for ``vectors``."""
    rng = np.random.default_rng(seed)
    centres = vectors[rng.choice(len(vectors), size=min(count, len(vectors)), replace=False)]
    for _ in range(rounds):
        nearest = (vectors @ centres.T).argmax(axis=1)
        for i in range(len(centres)):
            mine = vectors[nearest == i]
            if len(mine):
                centre = mine.mean(axis=0)
                centres[i] = centre / max(float(np.linalg.norm(centre)), 1e-9)
    return centres


def logistic(x: Any, y: Any, sample: Any, ridge: Any, *, rounds: int = 30) -> tuple[Any, float]:
    """Weights and bias of the regression, by Newton's method; ``ridge`` is the penalty of each weight."""
    x1 = np.concatenate([x, np.ones((len(x), 1))], axis=1).astype(np.float64)
    penalty = np.append(ridge, 1e-6)
    w = np.zeros(x1.shape[1])
    for _ in range(rounds):
        p = 1 / (1 + np.exp(-np.clip(x1 @ w, -30, 30)))
        gradient = x1.T @ (sample * (p - y)) + penalty * w
        curve = (x1 * (sample * np.maximum(p * (1 - p), 1e-6))[:, None]).T @ x1 + np.diag(penalty)
        step = np.linalg.solve(curve, gradient)
        w -= step
        if float(np.abs(step).max()) < 1e-6:
            break
    return w[:-1].astype(np.float32), float(w[-1])


def network(
    x: Any, y: Any, sample: Any, scale: Any, *, units: int = 64, rounds: int = 20, drop: float = 0.6, fits: int = 6
) -> tuple[Any, Any, Any, float]:
    """Weights and offsets of one layer of rectified units, and weights and bias of the output.

    Several networks that began elsewhere, joined to one whose output is their mean. ``scale``: of each input while it is
    fitted. Inputs are dropped at random with the share ``drop``: that keeps it from learning texts by heart.
    """
    found = [_one_network(x * scale, y, sample / sample.mean(), units, rounds, drop, seed) for seed in range(fits)]
    hidden = np.concatenate([scale[:, None] * first for first, _, _, _ in found], axis=1)
    offsets = np.concatenate([offset for _, offset, _, _ in found])
    weights = np.concatenate([last / fits for _, _, last, _ in found])
    return hidden, offsets, weights, float(np.mean([bias[0] for _, _, _, bias in found]))


def _one_network(x: Any, y: Any, sample: Any, units: int, rounds: int, drop: float, seed: int) -> list[Any]:
    """By Adam (Kingma and Ba, 2015) with decaying weights and steps, in batches of 128."""
    rng, x = np.random.default_rng(seed), x.astype(np.float32)
    count, inputs = x.shape
    values = [rng.normal(0, inputs**-0.5, (inputs, units)), np.zeros(units), rng.normal(0, units**-0.5, units), [0.0]]
    values = [np.asarray(v, dtype=np.float32) for v in values]
    mean, square = [np.zeros_like(v) for v in values], [np.zeros_like(v) for v in values]
    step, steps = 0, rounds * (count // 128)
    for _ in range(rounds):
        order = rng.permutation(count)
        for i in range(0, count - 127, 128):
            batch = order[i : i + 128]
            seen = x[batch] * (rng.random((128, inputs), dtype=np.float32) > drop) / (1 - drop)
            before = seen @ values[0] + values[1]
            p = 1 / (1 + np.exp(-(np.maximum(before, 0) @ values[2] + values[3])))
            wrong = (sample[batch] * (p - y[batch]) / 128).astype(np.float32)
            back = np.outer(wrong, values[2]) * (before > 0)
            slopes = [seen.T @ back, back.sum(0), np.maximum(before, 0).T @ wrong, np.array([wrong.sum()], np.float32)]
            step += 1
            for k, slope in enumerate(slopes):
                mean[k] = 0.9 * mean[k] + 0.1 * slope
                square[k] = 0.999 * square[k] + 0.001 * slope**2
                move = (mean[k] / (1 - 0.9**step)) / (np.sqrt(square[k] / (1 - 0.999**step)) + 1e-8)
                values[k] = values[k] - 2e-3 * (1 - step / steps) * (move + (0.3 * values[k] if k in (0, 2) else 0))
    return values
