"""One embedder per model and process: calls at the same time go through it together, known texts do not go at all."""

from __future__ import annotations

import asyncio
import hashlib
import os
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from chainops.engines.embeddings.place import CARD, default_place, open_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["BatchedEmbedder", "LazyEmbedder", "Model", "embedder"]

MAX_KNOWN = 20_000


class Model(Protocol):
    """What computes vectors, one call at a time."""

    identity: str
    dimensions: int

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape ``(len(texts), dimensions)``, each row of length 1."""


class BatchedEmbedder:
    """An ``Embedder`` for all event loops and threads of the process.

    What is asked while the model works is computed together afterwards. The vectors of the last twenty thousand texts
    are kept, by a hash of the text. Texts longer than the model reads are cut at their end.

    Args:
        model: computes; only its own thread calls it.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._known: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()
        self._lock = threading.Lock()
        self._inbox: queue.SimpleQueue[tuple[list[str], Future[None]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()
        self.computed = 0

    @property
    def identity(self) -> str:
        """Which model in which engine and precision."""
        return self._model.identity

    @property
    def stands_for(self) -> str | None:
        """The identity of the same model in full precision, of one in half precision."""
        return getattr(self._model, "stands_for", None)

    @property
    def dimensions(self) -> int:
        """Numbers in one vector."""
        return self._model.dimensions

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of shape ``(len(texts), dimensions)``; each row has length 1, so that ``a @ b`` is the cosine."""
        keys = [_key(text) for text in texts]
        found = self._find(keys)
        if found is None:
            await asyncio.wrap_future(self._ask(texts, keys))
            found = self._find(keys)
        return await asyncio.to_thread(self._model.vectors, texts) if found is None else found

    def embed_sync(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The same for a caller that blocks."""
        keys = [_key(text) for text in texts]
        found = self._find(keys)
        if found is None:
            self._ask(texts, keys).result()
            found = self._find(keys)
        return self._model.vectors(texts) if found is None else found

    def _find(self, keys: Sequence[bytes]) -> NDArray[np.float32] | None:
        """The vectors, or None where one is not known."""
        import numpy as np

        with self._lock:
            rows = [self._known.get(key) for key in keys]
            if any(row is None for row in rows):
                return None
            for key in keys:
                self._known.move_to_end(key)
        empty = np.empty((0, self._model.dimensions), np.float32)
        return np.stack(rows) if rows else empty  # type: ignore[arg-type]

    def _ask(self, texts: Sequence[str], keys: Sequence[bytes]) -> Future[None]:
        """Have what is not known computed."""
        if self._pid != os.getpid():  # a forked child has none of its parent's threads, and perhaps its held locks
            self._lock, self._inbox, self._thread, self._pid = threading.Lock(), queue.SimpleQueue(), None, os.getpid()
        with self._lock:
            new = [text for text, key in zip(texts, keys, strict=True) if key not in self._known]
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="chainops-embedder", daemon=True)
                self._thread.start()
        done: Future[None] = Future()
        self._inbox.put((new, done))
        return done

    def _run(self) -> None:
        while (first := self._inbox.get()) is not None:
            asked = [first]
            while not self._inbox.empty() and (more := self._inbox.get()) is not None:
                asked.append(more)
            wanted = dict.fromkeys(
                text for texts, done in asked if not done.cancelled() for text in texts if _key(text) not in self._known
            )
            try:
                self._compute(list(wanted))
            except Exception as error:  # noqa: BLE001 - told to everybody who asked
                _settle(asked, lambda done, error=error: done.set_exception(error))  # type: ignore[misc]
            else:
                _settle(asked, lambda done: done.set_result(None))

    def _compute(self, texts: list[str]) -> None:
        if not texts:
            return
        vectors = self._model.vectors(texts)
        self.computed += len(texts)
        with self._lock:
            for text, vector in zip(texts, vectors, strict=True):
                vector = vector.copy()
                vector.flags.writeable = False
                self._known[_key(text)] = vector
            while len(self._known) > max(MAX_KNOWN, len(texts)):
                self._known.popitem(last=False)


def _settle(asked: list[tuple[list[str], Future[None]]], how: Callable[[Future[None]], None]) -> None:
    for _, done in asked:
        if done.set_running_or_notify_cancel():
            how(done)


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


_shared: dict[tuple[int, Path], BatchedEmbedder] = {}
_making = threading.Lock()


def embedder(path: str | Path | None = None) -> BatchedEmbedder:
    """The embedder of the model in ``path``, loaded the first time (blocks for about a second), then shared.

    Args:
        path: a folder that ``chainops embedder export`` made, one of sentence-transformers (with a
            ``modules.json``), or the GGUF file of an encoder; None: the usual place.

    Raises:
        SetupError: there is no model (``setup.embedder_missing``), or it is damaged (``setup.embedder``).
        MissingExtra: onnxruntime or tokenizers is not installed.
    """
    folder = Path(path) if path is not None else default_place()
    key = os.getpid(), folder.absolute()  # a forked child has no thread of its parent's
    with _making:
        if key not in _shared:
            _shared[key] = BatchedEmbedder(_load(folder))
        return _shared[key]


def _load(folder: Path) -> Model:
    if folder.suffix == ".gguf":
        from chainops.engines.embeddings.llama import LlamaEmbeddingModel

        return LlamaEmbeddingModel(folder)
    if (folder / "modules.json").is_file() and not (folder / CARD).is_file():
        from chainops.engines.embeddings.sentence import SentenceModel

        return SentenceModel(folder)
    from chainops.engines.embeddings.onnx import OnnxModel

    return OnnxModel(open_folder(folder))


class LazyEmbedder:
    """An ``Embedder`` that is loaded when it is first used.

    Args:
        path: as of :func:`embedder`.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = path

    @property
    def identity(self) -> str:
        """Which model in which engine and precision; loads it."""
        return embedder(self.path).identity

    @property
    def stands_for(self) -> str | None:
        """The identity of the same model in full precision, of one in half precision; loads it."""
        return embedder(self.path).stands_for

    @property
    def dimensions(self) -> int:
        """Numbers in one vector; loads the model."""
        return embedder(self.path).dimensions

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As :meth:`BatchedEmbedder.embed`."""
        key = os.getpid(), (Path(self.path) if self.path is not None else default_place()).absolute()
        found = _shared.get(key)
        if found is None:
            found = await asyncio.to_thread(embedder, self.path)
        return await found.embed(texts)
