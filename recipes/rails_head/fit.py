"""Fitting: exemplars by spherical k-means, weights by logistic regression, both in numpy alone."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["exemplars", "logistic"]


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
