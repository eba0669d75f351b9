from __future__ import annotations

from pathlib import Path

import pytest

from chainops import SetupError
from chainops.settings import load_settings
from chainops.settings.place import lines_of


def test_without_a_file_there_are_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(environ={})
    assert settings.pipeline.middleware == ("trace",)
    assert str(settings.trace.path) == "chainops.db"


def test_keywords_win_over_the_environment_and_the_environment_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "chainops.toml"
    file.write_text('[trace]\npath = "file.db"\nsample = 0.5\nmax_queue = 7\n[nodes."draft/*"]\noff = ["trace"]\n')
    environ = {"CHAINOPS_TRACE__SAMPLE": "0.25", "CHAINOPS_TRACE__MAX_QUEUE": "8", "OTHER__TRACE": "x"}
    settings = load_settings(file, environ=environ, trace={"max_queue": 9})
    assert (str(settings.trace.path), settings.trace.sample, settings.trace.max_queue) == ("file.db", 0.25, 9)
    assert settings.nodes == {"draft/*": {"off": ["trace"]}}


def test_a_list_can_come_from_the_environment() -> None:
    settings = load_settings(environ={"CHAINOPS_PIPELINE__MIDDLEWARE": '["a", "b"]'}, pipeline={})
    assert settings.pipeline.middleware == ("a", "b")


def test_all_mistakes_are_named_at_once_with_their_place_and_a_near_name(tmp_path: Path) -> None:
    file = tmp_path / "chainops.toml"
    file.write_text("[trace]\nsampel = 0.5\nkeep_slow_ms = -1\n[pipelin]\nmiddleware = []\n")
    with pytest.raises(SetupError) as error:
        load_settings(file, environ={})
    text = error.value.message
    assert "trace.sampel does not exist (did you mean 'sample'?)" in text
    assert "trace.keep_slow_ms = -1" in text
    assert "pipelin does not exist (did you mean 'pipeline'?)" in text


def test_a_mistake_is_named_with_the_file_and_line_or_the_variable_that_it_stands_in(tmp_path: Path) -> None:
    file = tmp_path / "chainops.toml"
    file.write_text(
        "# an application\n\n[pipeline]\nmiddleware = [  # outermost first\n  'trace',\n]\n"
        "[trace]\npth = 'x.db'\nsample = 7  # too much\n[ nodes . 'a b' ]\noff = [\n]\n[cahce]\n"
    )
    with pytest.raises(SetupError) as error:
        load_settings(file, environ={"CHAINOPS_TRACE__MAX_QUEUE": "none"}, prompts={"labl": "x"})
    text = error.value.message
    assert f"trace.pth does not exist (did you mean 'path'?) ({file}, line 8)" in text
    assert f"trace.sample = 7: Input should be less than or equal to 1 ({file}, line 9)" in text
    assert f"cahce does not exist (did you mean 'cache'?) ({file}, line 13)" in text
    assert "as an integer (CHAINOPS_TRACE__MAX_QUEUE)" in text
    assert "prompts.labl does not exist (did you mean 'label'?)" in text.split(";")[-1] + text
    assert "labl" in text and f"labl does not exist (did you mean 'label'?) ({file}" not in text


def test_the_line_of_a_key_is_right_in_every_form_that_toml_has() -> None:
    text = '''a = 1
b.c = 2
"quoted key" = """
[not.a.table]
x = 1
"""
[t]
inline = { d = 1, e = { f = 2 } }
list = [
  1, # [x]
]
[[array]]
g = 1
[[array]]
h = 2
'''
    lines = lines_of(text)
    expected = {("a",): 1, ("b", "c"): 2, ("quoted key",): 3, ("t",): 7, ("t", "inline", "e", "f"): 8, ("t", "list"): 9}
    assert {place: lines[place] for place in expected} == expected
    assert (lines[("array",)], lines[("array", "g")], lines[("array", "h")]) == (12, 13, 15)
    assert ("not", "a", "table") not in lines


@pytest.mark.parametrize(
    ("content", "match"), [(None, "Cannot read"), (b"[trace", "not valid TOML"), (b"\xff", "TOML")]
)
def test_a_file_that_is_missing_or_no_toml_is_a_clear_error(tmp_path: Path, content: bytes | None, match: str) -> None:
    file = tmp_path / "x.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SetupError, match=match):
        load_settings(file, environ={})


def test_a_variable_and_one_below_it_are_a_clear_error() -> None:
    with pytest.raises(SetupError, match="CHAINOPS_TRACE__PATH__X sets a part of what CHAINOPS_TRACE__PATH sets"):
        load_settings(environ={"CHAINOPS_TRACE__PATH": "x.db", "CHAINOPS_TRACE__PATH__X": "1"})


def test_a_file_from_an_editor_that_marks_its_encoding_is_read(tmp_path: Path) -> None:
    file = tmp_path / "marked.toml"
    file.write_text("[trace]\nsample = 0.5\n", encoding="utf-8-sig")
    assert load_settings(file, environ={}).trace.sample == 0.5


def test_a_path_that_no_file_can_have_is_a_clear_error() -> None:
    with pytest.raises(SetupError, match="null"):
        load_settings("a\0b", environ={})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[budgets.rules]]\nhrad = '5'", "budgets.rules.0.hrad does not exist (did you mean 'hard'?)"),
        ("[[limits.rules]]\nname = 'a'\nzzz = 1", "limits.rules.0.zzz does not exist (known: name, per, kind"),
        ("[route.models.small]\nfiel = 'x.gguf'", "route.models.small.fiel does not exist (did you mean 'file'?)"),
    ],
)
def test_a_misspelt_name_inside_a_list_or_a_named_table_is_told_with_the_names_there(
    tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / "chainops.toml").write_text(text)
    with pytest.raises(SetupError) as caught:
        load_settings(tmp_path / "chainops.toml")
    assert told in str(caught.value)
