"""Turn a training checkpoint into one GGUF file (Q8_0 weights, tokenizer and chat template inside).

``python recipes/tiny_model/export.py --from DIR --to support-desk-tiny.gguf`` also writes the ``.sha256`` file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from chatml import TEMPLATE_FILE
from model import NORM_EPSILON, ROPE_BASE, Network, Shape, load_checkpoint
from tokenizer import CONTROL_TOKENS, PAD, PRE_TOKENIZER, TURN_END

NAME = "support-desk-tiny"
CONTEXT_LENGTH = 1024
"""Room in tokens that the file declares; documents in training were shorter (see the model card)."""


def add_metadata(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_name(NAME)
    writer.add_description("A tiny support-desk model, trained from nothing on synthetic text.")
    writer.add_license("Apache-2.0")
    writer.add_context_length(CONTEXT_LENGTH)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(NORM_EPSILON)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)


def add_tokenizer(writer: gguf.GGUFWriter, stored: dict[str, Any]) -> None:
    """The vocabulary, merges and token types of a ``tokenizer.json``."""
    ids: dict[str, int] = dict(stored["model"]["vocab"])
    types = dict.fromkeys(ids, gguf.TokenType.NORMAL)
    for token in stored["added_tokens"]:
        ids[token["content"]] = token["id"]
        control = token["content"] in CONTROL_TOKENS
        types[token["content"]] = gguf.TokenType.CONTROL if control else gguf.TokenType.USER_DEFINED
    tokens = sorted(ids, key=ids.__getitem__)
    if [ids[token] for token in tokens] != list(range(len(tokens))):
        raise ValueError(f"token ids of tokenizer.json are not 0..{len(tokens) - 1}")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZER)
    writer.add_token_list(tokens)
    writer.add_token_types([types[token] for token in tokens])
    merges = stored["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_bos_token_id(ids[PAD])
    writer.add_eos_token_id(ids[TURN_END])
    writer.add_pad_token_id(ids[PAD])
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE_FILE.read_text())


def add_weights(writer: gguf.GGUFWriter, network: Network) -> None:
    """Matrices as Q8_0 (8 bits, one scale per 32 values), gains as 32-bit floats."""
    kind = gguf.GGMLQuantizationType.Q8_0
    for name, parameter in network.state_dict().items():
        values = np.ascontiguousarray(parameter.float().numpy())
        if values.ndim == 1:
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)


def export(source: Path, target: Path) -> str:
    """Write the GGUF file and ``TARGET.sha256``; returns the SHA-256."""
    network, _ = load_checkpoint(str(source / "model.pt"))
    writer = gguf.GGUFWriter(str(target), "llama")
    add_metadata(writer, network.shape)
    add_tokenizer(writer, json.loads((source / "tokenizer.json").read_text()))
    add_weights(writer, network)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    target.with_name(target.name + ".sha256").write_text(f"{digest}  {target.name}\n")
    return digest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="source", type=Path, required=True, help="the folder that train.py wrote")
    parser.add_argument("--to", dest="target", type=Path, required=True, help="the GGUF file to write")
    options = parser.parse_args()
    digest = export(options.source, options.target)
    print(f"{options.target}: {options.target.stat().st_size} bytes", file=sys.stderr)
    print(digest)


if __name__ == "__main__":
    main()
