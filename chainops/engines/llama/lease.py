"""Who uses which loaded model: equal callers share one, and the last one that leaves unloads it."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from contextlib import suppress

from chainops.engines.llama.failures import ModelClosed
from chainops.engines.llama.loading import ModelOptions
from chainops.engines.llama.prebuilt_library import use_prebuilt
from chainops.engines.llama.session import Session
from chainops.errors import ChainopsError, SetupError

__all__ = ["Lease", "set_memory_budget"]

UNLOAD_SECONDS = 60.0

_sessions: dict[tuple[int, ModelOptions], Session] = {}
_registry_lock = threading.RLock()
_alive: weakref.WeakSet[Session] = weakref.WeakSet()  # those that only drain, too
_room_lock = threading.Lock()
_budget: int | None = None


def _session_class() -> type[Session]:
    """llama-cpp-python's, or xllamacpp's where only that is installed."""
    if not use_prebuilt():
        return Session
    from chainops.engines.llama.prebuilt import PrebuiltSession

    return PrebuiltSession


def _forget(session: Session) -> None:
    with _registry_lock:
        for key, other in list(_sessions.items()):
            if other is session:
                del _sessions[key]


def set_memory_budget(size: int | None) -> None:
    """Let all models of this process together take at most ``size`` bytes (None: no bound but the machine's).

    Where another model would exceed it, models that nothing runs on are unloaded, the one that was used longest ago
    first; their next call loads them again. If that is not enough, loading fails with ``setup.model_memory``. Counted
    are weights, caches and kept prefixes, as estimated before loading.
    """
    global _budget  # noqa: PLW0603 - there is one memory
    if size is not None and size < 1:
        raise SetupError(f"A memory budget of {size} bytes holds nothing", hint="Give more.", code="setup.option")
    _budget = size


def _make_room(session: Session, need: int) -> None:
    """Unload idle models until ``need`` more bytes are within the budget.

    Raises:
        SetupError: code ``setup.model_memory``.
    """
    with _room_lock:
        stuck: set[Session] = set()
        if _budget is not None and need > _budget:
            raise _too_much(need, 0, _budget)
        while _budget is not None:
            others = [other for other in list(_alive) if other.pid == os.getpid() and other is not session]
            taken = sum(other.need for other in others)
            if taken + need <= _budget:
                break
            idle = [other for other in others if other.need and not other.stats.running and other not in stuck]
            if not idle:
                raise _too_much(need, taken, _budget)
            oldest = min(idle, key=lambda other: other.last_used)
            stuck.add(oldest)  # if it does not leave now, it will not
            with suppress(ChainopsError, TimeoutError):
                oldest.unload().result(UNLOAD_SECONDS)
        session.need = need


def _too_much(need: int, taken: int, budget: int) -> SetupError:
    return SetupError(
        f"The model needs about {need:,} bytes; others take {taken:,} of the budget of {budget:,}",
        hint="Raise set_memory_budget(), or give a smaller n_ctx, n_parallel or n_kept.",
        code="setup.model_memory",
    )


@atexit.register
def _close_all() -> None:
    for (pid, _), session in list(_sessions.items()):
        if pid == os.getpid():  # threads of the parent do not exist in a forked child
            session.close()


class Lease:
    """One owner's hold on shared sessions. The last owner that closes a session unloads the model.

    An owner that disappears without closing gives up its hold, but the model stays loaded for the next one.
    Copies and pickles of a lease are new leases without a hold.
    """

    def __init__(self) -> None:
        self.closed = False
        self._held: dict[tuple[int, ModelOptions], Session] = {}
        weakref.finalize(self, _drop, id(self), self._held).atexit = False

    def session(self, options: ModelOptions) -> Session:
        """The session for ``options`` in this process; its model begins to load if it is new. Does not block.

        Raises:
            ModelClosed: this lease was closed.
        """
        if self.closed:
            raise ModelClosed
        key = (os.getpid(), options)
        held = self._held.get(key)
        if held is not None and held.usable:
            return held
        with _registry_lock:
            session = _sessions.get(key)
            if session is None or not session.usable:
                session = _sessions[key] = _session_class()(options, _forget, _make_room)
                _alive.add(session)
            session.leases.add(id(self))
            self._held[key] = session
            return session

    def leave(self, options: ModelOptions) -> None:
        """Give up the session for ``options``. If nobody else holds it, it ends when all its calls are answered."""
        with _registry_lock:
            session = self._held.pop((os.getpid(), options), None)
            if session is None:
                return
            session.leases.discard(id(self))
            if session.leases:
                return
            _forget(session)
        threading.Thread(target=session.close, kwargs={"drain": True}, name="chainops-llama-drain").start()

    def close(self) -> None:
        """Give up the hold for good. Blocks until a model that nobody else holds is unloaded."""
        self.closed = True
        with _registry_lock:
            mine = [session for (pid, _), session in self._held.items() if pid == os.getpid()]
            _drop(id(self), self._held)
            unused = [session for session in mine if not session.leases]
            for session in unused:
                _forget(session)
        for session in unused:
            session.close()

    def __deepcopy__(self, memo: object) -> Lease:
        return Lease()

    def __copy__(self) -> Lease:
        return Lease()

    def __reduce__(self) -> tuple[type[Lease], tuple[()]]:
        return Lease, ()


def _drop(lease: int, held: dict[tuple[int, ModelOptions], Session]) -> None:
    for session in list(held.values()):
        session.leases.discard(lease)
    held.clear()
