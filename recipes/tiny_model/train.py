"""Train the tiny support-desk model on one CPU thread.

``python recipes/tiny_model/train.py --minutes 13 --out DIR`` writes ``tokenizer.json`` and ``model.pt`` to DIR.
The budget is CPU time, so a busy machine only makes the run longer, not worse; or ``--steps``, which gives the same
bytes again on the same processor with the same versions. ``--after DIR`` goes on from what another run wrote, on
conversations that are rare otherwise, without drills.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as functional
from data import IGNORED, Drills, Packer
from model import Network, Shape, load_checkpoint, save_checkpoint, start_copying
from tokenizer import load_tokenizer, train_tokenizer

WARM_UP_STEPS = 60
RARE_SHARE = 0.2
"""Share of rare conversations in a run that goes on from another."""

FINAL_RATE = 0.02
"""The learning rate ends at this share of its peak."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for tokenizer.json and model.pt")
    parser.add_argument("--minutes", type=float, default=13.0, help="CPU minutes of training")
    parser.add_argument("--steps", type=int, help="steps of training, in place of --minutes")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--vocabulary", type=int, default=1536)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--kv-heads", type=int, default=6, help="key/value heads; 6 is one per query head")
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--rows", type=int, default=8, help="rows per step")
    parser.add_argument("--context", type=int, default=256, help="tokens per row")
    parser.add_argument("--rate", type=float, default=2.5e-3, help="peak learning rate")
    parser.add_argument("--drills", type=float, default=0.6, help="share of copy drills after the start")
    parser.add_argument("--after", type=Path, help="folder of the run to go on from; its shape and tokenizer are kept")
    parser.add_argument("--log-every", type=int, default=50)
    return parser.parse_args()


def learning_rate(peak: float, step: int, done: float) -> float:
    """Linear warm-up, then half a cosine over the budget (`done` from 0 to 1)."""
    cosine = 0.5 * (1.0 + math.cos(math.pi * done))
    return peak * min(1.0, (step + 1) / WARM_UP_STEPS) * (cosine * (1.0 - FINAL_RATE) + FINAL_RATE)


def drills_at(first: float, done: float) -> Drills:
    """Only drills at the very start (they form the copying heads), fewer and longer ones later, none at the end."""
    share = 1.0 if first and done < 0.03 else first * max(0.0, 1.0 - done / 0.7)
    return Drills(share, longest=min(16, 1 + int(100.0 * done)), strange=0.45)


def optimizer_of(network: Network, rate: float) -> torch.optim.Optimizer:
    matrices = [parameter for parameter in network.parameters() if parameter.dim() > 1]
    gains = [parameter for parameter in network.parameters() if parameter.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": gains, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95), fused=True)


def train_step(network: Network, optimizer: torch.optim.Optimizer, packer: Packer, drills: Drills) -> float:
    """One optimizer step; returns the loss (nats per learned token)."""
    batch = packer.batch(drills)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = network(batch.tokens, batch.positions, batch.mask)
        learned = batch.targets != IGNORED
        logits = network.logits(hidden[learned])
    loss = functional.cross_entropy(logits.float(), batch.targets[learned])
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return float(loss.item())


def main() -> None:
    options = arguments()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    tokenizer = (
        load_tokenizer(options.after / "tokenizer.json") if options.after else train_tokenizer(options.vocabulary)
    )
    tokenizer.save(str(options.out / "tokenizer.json"))
    shape = Shape(
        tokenizer.get_vocab_size(),
        layers=options.layers,
        kv_heads=options.kv_heads,
        hidden=options.hidden,
        context=options.context,
    )
    network = Network(shape)
    start_copying(network)
    if options.after:
        network, _ = load_checkpoint(str(options.after / "model.pt"))
    optimizer = optimizer_of(network, options.rate)
    rare, drills = (RARE_SHARE, 0.0) if options.after else (0.0, options.drills)
    packer = Packer(tokenizer, rows=options.rows, time=options.context, seed=options.seed, rare=rare)
    print(f"{network.size()} parameters, vocabulary {shape.vocabulary}", file=sys.stderr, flush=True)
    checkpoint = str(options.out / "model.pt")
    started, budget = time.process_time(), options.minutes * 60.0
    step, recent = 0, 0.0

    def progress() -> float:
        return step / options.steps if options.steps else (time.process_time() - started) / budget

    while (done := progress()) < 1.0:
        rate = learning_rate(options.rate, step, done)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = train_step(network, optimizer, packer, drills_at(drills, done))
        recent = loss if step == 0 else 0.95 * recent + 0.05 * loss
        step += 1
        if step % options.log_every == 0:
            print(f"{done:6.1%}  step {step}  loss {recent:.3f}  rate {rate:.5f}", file=sys.stderr, flush=True)
        if step % 500 == 0:
            save_checkpoint(checkpoint, network, {"steps": step, "cpu_minutes": (time.process_time() - started) / 60.0})
    save_checkpoint(checkpoint, network, {"steps": step, "cpu_minutes": (time.process_time() - started) / 60.0})
    print(f"done: {step} steps, loss {recent:.3f}, {checkpoint}", file=sys.stderr)


if __name__ == "__main__":
    main()
