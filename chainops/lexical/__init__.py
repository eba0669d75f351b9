"""Texts by their words: terms and stems, BM25, ranks of several judges fused."""
