"""A model and its context as llama.cpp sees them: C functions behind Python types.

Nothing here knows about requests or chat. A :class:`Native` belongs to one thread; only :meth:`Native.tokenize`
may be called from others, because it reads the constant vocabulary.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainops.engines.llama.batch import Batch
from chainops.engines.llama.context import KV_TYPES, ContextOptions
from chainops.engines.llama.library import library, library_log
from chainops.errors import CallError, SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ABORTED", "NO_ROOM", "Native"]

NO_ROOM, ABORTED = 1, 2


class Native:
    """One model and one context of many sequences.

    Raises:
        SetupError: codes ``setup.model_load``, ``setup.model_context``.
    """

    def __init__(self, path: Path, options: ContextOptions) -> None:
        self.lib = lib = library()
        self.options = options
        self._model: Any = None
        self._context: Any = None
        self._abort_flag = ctypes.create_string_buffer(2)
        with library_log(lib).recording(lib):
            try:
                self._open(path)
            except BaseException:
                self.close()
                raise

    def _open(self, path: Path) -> None:
        lib, options = self.lib, self.options
        params = lib.llama_model_default_params()
        params.n_gpu_layers = options.n_gpu_layers
        if b"AMX_INT8 = 1" in lib.llama_print_system_info():
            params.use_extra_bufts = False  # such builds crash in quantised matrix products (llama.cpp issue 20824)
        self._model = lib.llama_model_load_from_file(os.fsencode(path), params)
        if not self._model:
            raise SetupError(
                f"llama.cpp cannot load {path}: {library_log(lib).reason}",
                hint="Use a model that the installed llama-cpp-python knows, or install a newer one.",
                code="setup.model_load",
            )
        self._context = lib.llama_init_from_model(self._model, self._context_params())
        if not self._context:
            raise SetupError(
                f"llama.cpp cannot make a context of {self._cells_wanted} tokens for {path.name}: "
                f"{library_log(lib).reason}",
                hint="Give a smaller n_ctx, n_parallel or n_cells.",
                code="setup.model_context",
            )
        self.vocab: Any = lib.llama_model_get_vocab(self._model)
        self.n_vocab: int = lib.llama_vocab_n_tokens(self.vocab)
        each = int(lib.llama_n_ctx_seq(self._context))
        self.n_cells = min(self._cells_wanted, each if options.unified else each * options.n_parallel)
        self.n_ctx = min(options.n_ctx, each)
        self.can_share = not (lib.llama_model_is_recurrent(self._model) or lib.llama_model_is_hybrid(self._model))
        self.batch = Batch(lib, options.n_batch + options.n_parallel + options.n_draft)
        self._memory = lib.llama_get_memory(self._context)
        self._threads = options.n_threads
        self._pieces: dict[int, bytes] = {}
        self._ends: dict[int, bool] = {}
        self._views: dict[tuple[int, tuple[int, ...]], Any] = {}

    @property
    def _cells_wanted(self) -> int:
        return self.options.n_cells or self.options.n_ctx * self.options.n_parallel

    def _context_params(self) -> Any:
        lib, options = self.lib, self.options
        params = lib.llama_context_default_params()
        params.n_ctx = self._cells_wanted
        rows = options.n_parallel + options.n_draft  # one token of each answer, and guesses
        params.n_batch = params.n_ubatch = options.n_batch + rows
        params.n_seq_max, params.n_outputs_max = options.n_parallel, rows
        params.n_threads = params.n_threads_batch = options.n_threads
        params.flash_attn_type = (
            lib.LLAMA_FLASH_ATTN_TYPE_ENABLED if options.flash_attn else lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
        params.kv_unified = options.unified
        params.type_k = params.type_v = KV_TYPES[options.kv_type]
        params.no_perf = True
        if sys.platform != "win32":
            # strlen(flag) != 0 means abort: a C function, so that llama.cpp's 140 questions per step need no GIL
            params.abort_callback = ctypes.cast(ctypes.CDLL(None).strlen, lib.ggml_abort_callback)
            params.abort_callback_data = ctypes.cast(self._abort_flag, ctypes.c_void_p)
        return params

    def load_adapter(self, path: Path) -> Any:
        """An adapter in memory, freed with the model. The file must have passed ``check_adapter_file``.

        Raises:
            SetupError: code ``setup.adapter``: llama.cpp refuses it.
        """
        with library_log(self.lib).recording(self.lib):
            adapter = self.lib.llama_adapter_lora_init(self._model, os.fsencode(path))
            if not adapter:
                raise SetupError(
                    f"llama.cpp cannot load the adapter {path}: {library_log(self.lib).reason}",
                    hint="Give a LoRA adapter in GGUF form that was made from exactly this model.",
                    code="setup.adapter",
                )
        return adapter

    def use_adapters(self, adapters: Sequence[tuple[Any, float]]) -> None:
        """Add these, each times its scale, to the weights from now on, and none else. What is cached stays as it was.

        Raises:
            CallError: code ``call.adapter``.
        """
        count = len(adapters)
        handles = (self.lib.llama_adapter_lora_p_ctypes * count)(*(handle for handle, _ in adapters))
        scales = (ctypes.c_float * count)(*(scale for _, scale in adapters))
        if self.lib.llama_set_adapters_lora(self._context, handles, count, scales):
            raise CallError(f"llama.cpp does not take {count} adapters", code="call.adapter")

    def tokenize(self, text: str, *, special: bool, start: bool = False) -> list[int]:
        """Token ids of ``text``. ``special``: control tokens are recognised; ``start``: begin of a prompt."""
        raw = text.encode(errors="replace")
        room = len(raw) + 8
        tokens = (ctypes.c_int32 * room)()
        count = self.lib.llama_tokenize(self.vocab, raw, len(raw), tokens, room, start, special)
        if count < 0:
            raise CallError(f"llama.cpp cannot tokenize a text of {len(raw)} bytes", code="call.tokenize")
        return tokens[:count]

    def piece(self, token: int) -> bytes:
        """The bytes that ``token`` adds to the text; control tokens add none."""
        found = self._pieces.get(token)
        if found is None:
            buffer = ctypes.create_string_buffer(256)
            count = self.lib.llama_token_to_piece(self.vocab, token, buffer, 256, 0, False)
            if count < 0:
                buffer = ctypes.create_string_buffer(-count)
                count = self.lib.llama_token_to_piece(self.vocab, token, buffer, -count, 0, False)
            found = self._pieces[token] = buffer.raw[: max(count, 0)]
        return found

    @cached_property
    def silent_tokens(self) -> list[int]:
        """Tokens that add no text and end nothing: a grammar would take them for the text that they are named by."""
        attributes = self.lib.LLAMA_TOKEN_ATTR_CONTROL | self.lib.LLAMA_TOKEN_ATTR_UNKNOWN
        attributes |= self.lib.LLAMA_TOKEN_ATTR_UNUSED
        attribute_of = self.lib.llama_vocab_get_attr
        marked = (token for token in range(self.n_vocab) if attribute_of(self.vocab, token) & attributes)
        return [token for token in marked if not self.is_end(token)]

    @cached_property
    def end_token(self) -> int:
        """A token that ends the answer."""
        lib = self.lib
        named = (lib.llama_vocab_eot(self.vocab), lib.llama_vocab_eos(self.vocab))
        return int(next((token for token in named if token >= 0 and self.is_end(token)), named[1]))

    def is_end(self, token: int) -> bool:
        """True for tokens that end the answer."""
        found = self._ends.get(token)
        if found is None:
            found = self._ends[token] = bool(self.lib.llama_vocab_is_eog(self.vocab, token))
        return found

    def decode(self) -> int:
        """Compute what is in ``batch``; then the logits of the wanted rows are there.

        Returns:
            0, or ``NO_ROOM``: nothing changed, there are too few free cells, or ``ABORTED``: :meth:`abort` was called.

        Raises:
            CallError: code ``call.decode``; nobody knows what is in the context now.
        """
        code = int(self.lib.llama_decode(self._context, self.batch.raw))
        if code in (0, NO_ROOM, ABORTED):
            return code
        raise CallError(f"llama_decode failed with code {code} in a batch of {self.batch.count}", code="call.decode")

    def use_threads(self, count: int) -> None:
        """Compute with so many threads from now on; takes some ten microseconds."""
        if count != self._threads:
            self.lib.llama_set_n_threads(self._context, count, count)
            self._threads = count

    def remove(self, sequence: int, keep: int) -> bool:
        """Forget a sequence from position ``keep`` on. False: this kind of model can only forget all (and did)."""
        if self.lib.llama_memory_seq_rm(self._memory, sequence, keep or -1, -1):
            return True
        self.lib.llama_memory_seq_rm(self._memory, sequence, -1, -1)
        return False

    def share(self, source: int, target: int, size: int) -> None:
        """Let ``target``, which is empty, begin with the first ``size`` tokens of ``source``, in the same cells.

        Possible where cells are ``unified`` only.
        """
        if size:
            self.lib.llama_memory_seq_cp(self._memory, source, target, 0, size)

    def state(self, sequence: int) -> Any:
        """All that was computed of a sequence: a numpy array of bytes, empty if llama.cpp cannot tell."""
        import numpy as np

        size = self.lib.llama_state_seq_get_size(self._context, sequence)
        data = np.empty(size, np.uint8)
        pointer = data.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        return data[: self.lib.llama_state_seq_get_data(self._context, pointer, size, sequence)]

    def restore(self, sequence: int, state: Any) -> bool:
        """Bring what :meth:`state` returned back, as ``sequence``, which is empty. False: llama.cpp did not."""
        pointer = state.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        return bool(self.lib.llama_state_seq_set_data(self._context, pointer, len(state), sequence))

    def clear(self) -> None:
        """Forget all sequences."""
        self.lib.llama_memory_clear(self._memory, False)

    def logits(self, row: int) -> Any:
        """The logits of a wanted row: a numpy view of shape ``(n_vocab,)``, valid until the next decode."""
        return self._view(self.lib.llama_get_logits_ith(self._context, row), (self.n_vocab,))

    def all_logits(self) -> Any:
        """The logits of all wanted rows in their order: a numpy view of shape ``(wanted, n_vocab)``."""
        return self._view(self.lib.llama_get_logits(self._context), (self.batch.outputs, self.n_vocab))

    def _view(self, pointer: Any, shape: tuple[int, ...]) -> Any:
        """llama.cpp's floats as an array. Making one takes a while; their places are few."""
        import numpy as np

        key = (ctypes.addressof(pointer.contents), shape)
        if key not in self._views:
            self._views[key] = np.ctypeslib.as_array(pointer, shape=shape)
        return self._views[key]

    def sample(self, chain: Any, row: int) -> int:
        """The next token after ``row``, chosen by a sampler chain and accepted into it."""
        return int(self.lib.llama_sampler_sample(chain, self._context, row))

    def abort(self) -> None:
        """Interrupt the running decode, from any thread. Final: every later decode is interrupted as well."""
        self._abort_flag[0] = b"x"

    @property
    def aborted(self) -> bool:
        """True after :meth:`abort`."""
        return self._abort_flag[0] != b"\0"

    def close(self) -> None:
        """Free everything. Safe to call twice; nothing else may be called afterwards."""
        if self._context:
            self.lib.llama_free(self._context)
        if self._model:
            self.lib.llama_model_free(self._model)
        self._context = self._model = None
