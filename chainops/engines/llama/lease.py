"""Who uses which loaded model: equal callers share one, and the last one that leaves unloads it."""

from __future__ import annotations

import atexit
import os
import threading
import weakref

from chainops.engines.llama.failures import ModelClosed
from chainops.engines.llama.loading import ModelOptions
from chainops.engines.llama.session import Session

__all__ = ["Lease"]

_sessions: dict[tuple[int, ModelOptions], Session] = {}
_registry_lock = threading.RLock()


def _forget(session: Session) -> None:
    with _registry_lock:
        for key, other in list(_sessions.items()):
            if other is session:
                del _sessions[key]


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
                session = _sessions[key] = Session(options, _forget)
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
