"""Text leaves whole, and nothing of a stop string leaves."""

from __future__ import annotations

import pytest

from chainops.engines.llama.text import TextStream, held_back


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_text_is_the_same_however_its_bytes_are_cut(size: int) -> None:
    raw = "naïve 中文 😀 end".encode()
    stream = TextStream()
    parts = [stream.feed(raw[start : start + size]) for start in range(0, len(raw), size)]
    assert "".join(parts) + stream.finish() == raw.decode()


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_stop_string_cuts_the_text_however_it_is_spread(size: int) -> None:
    raw = b"first line\n\nUser: second"
    stream = TextStream(["\n\nUser:", "never"])
    shown = ""
    for start in range(0, len(raw), size):
        shown += stream.feed(raw[start : start + size])
        assert shown == "first line"[: len(shown)]
    assert stream.stopped
    assert shown + stream.finish() == "first line"


def test_the_earliest_of_several_stop_strings_wins() -> None:
    stream = TextStream(["world", "o"])
    assert stream.feed(b"hello world") == "hell"


def test_an_empty_stop_string_stops_nothing() -> None:
    stream = TextStream([""])
    assert stream.feed(b"abc") == "abc"


def test_only_as_much_is_held_back_as_could_begin_a_stop_string() -> None:
    assert held_back("abc<too", ["<tool_call>"]) == 4
    assert held_back("abc<toy", ["<tool_call>"]) == 0
    assert held_back("aab", ["aabb", "ba"]) == 3
    assert held_back("", ["x"]) == 0


def test_invalid_bytes_become_replacement_characters() -> None:
    stream = TextStream()
    assert stream.feed(b"a\xffb") == "a\ufffdb"
    assert stream.feed(b"\xe4\xb8") == ""
    assert stream.finish() == "\ufffd"
