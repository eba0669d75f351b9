"""Work for a model's thread that is no request."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from chainops.engines.llama.worker import Worker

__all__ = ["Task", "Unload"]

Result = TypeVar("Result")


class Task(Generic[Result]):
    """Something that the model's thread does between two steps."""

    def __init__(self, work: Callable[[Worker], Result]) -> None:
        self.future: Future[Result] = Future()
        self._work = work

    def give(self, worker: Worker) -> None:
        """Do it."""
        try:
            self.future.set_result(self._work(worker))
        except Exception as error:  # noqa: BLE001 - told to whoever waits
            self.future.set_exception(error)

    def deliver(self, error: BaseException) -> None:
        """Tell that it will not be done."""
        self.future.set_exception(error)


class Unload(Task[bool]):
    """Unload the model if nothing runs: then the future is True, when it is done."""

    def __init__(self) -> None:
        super().__init__(lambda worker: not worker.busy)

    def give(self, worker: Worker) -> None:
        """Have it done."""
        if worker.busy:
            self.future.set_result(False)
        else:
            worker.leaving = self.future
