"""The number of threads follows what the machine has left, and a steady machine is left alone."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from chainops.engines.llama.threads import Threads


class Machine:
    """Steps of a model on a simulated machine: ``seconds(threads, rows)`` each."""

    def __init__(self, most: int, seconds: Callable[[int, int], float]) -> None:
        self.time, self.seconds = 0.0, seconds
        self.threads = Threads(most, lambda: self.time)

    def run(self, until: float, rows: Callable[[], int] = lambda: 1) -> tuple[float, int]:
        """Rows per second until then, and how many steps had all threads."""
        began, done, full = self.time, 0, 0
        while self.time < until:
            count = rows()
            took = self.seconds(self.threads.now, count)
            full += self.threads.now == self.threads.most
            self.time += took
            done += count
            self.threads.measured(count, took)
        return done / (self.time - began), full


def idle(threads: int, rows: int) -> float:
    return 0.016 * (1 + 0.3 * (rows - 1)) / threads


def busy(threads: int, rows: int) -> float:
    return idle(1, rows) * (1.1 if threads == 1 else 8)


def test_an_idle_machine_gives_all_threads_almost_always() -> None:
    machine = Machine(2, idle)
    rate, _ = machine.run(120)
    assert rate > 0.98 * 2 / 0.016
    assert machine.threads.now == 2


def test_a_busy_neighbour_costs_threads_and_not_a_factor_of_ten() -> None:
    machine = Machine(2, idle)
    machine.run(20)
    machine.seconds = busy
    rate, _ = machine.run(60)
    assert rate > 0.8 / 0.016
    machine.seconds = idle
    machine.run(80)
    assert machine.run(120)[0] > 0.95 * 2 / 0.016


def test_a_neighbour_that_was_there_first_is_noticed_too() -> None:
    machine = Machine(4, busy)
    machine.run(10)
    assert machine.threads.now == 1
    assert machine.run(60)[0] > 0.8 / 0.016


@pytest.mark.parametrize("seed", range(5))
def test_batches_of_changing_size_are_compared_with_their_own_kind(seed: int) -> None:
    rng = random.Random(seed)
    machine = Machine(2, lambda threads, rows: idle(threads, rows) * rng.uniform(0.9, 1.2))
    _, full = machine.run(60, lambda: rng.choice([1, 2, 8, 200]))
    assert machine.threads.now == 2
    machine.seconds = busy
    rate, _ = machine.run(120, lambda: rng.choice([1, 2, 8, 200]))
    alone = Machine(1, busy).run(60, lambda: rng.choice([1, 2, 8, 200]))[0]
    assert rate > 0.5 * alone
    assert full > 0


def test_one_thread_stays_one() -> None:
    machine = Machine(1, idle)
    machine.run(10)
    assert machine.threads.now == 1
