from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chainops.errors import SetupError
from chainops.middleware.prompts.content import Content, check_content
from chainops.middleware.prompts.file import parse_prompt, write_prompt
from chainops.middleware.prompts.folder import compare, read_folder, sync, write_folder
from chainops.store.artifacts import Artifacts
from chainops.store.registry import Registry, View

SUMMARIZE = """\
---
description: Short summaries
model:
  temperature: 0
inputs:
  type: object
  properties:
    text: {type: string}
  required: [text]
tests:
  - name: the text is in it
    inputs: {text: abc}
    contains: [abc]
---
system:
You summarize.

user:
{{ text }}
"""


def read(text: str, name: str = "p") -> Content:
    return parse_prompt(text, name).content(lambda partial: None)


def refused(text: str) -> str:
    with pytest.raises(SetupError) as caught:
        read(text)
    assert caught.value.code == "setup.prompt"
    return caught.value.message


def test_a_prompt_file_has_front_matter_and_roles() -> None:
    content = read(SUMMARIZE)
    assert [(m.role, m.template) for m in content.messages] == [("system", "You summarize."), ("user", "{{ text }}")]
    assert (content.description, content.model) == ("Short summaries", {"temperature": 0})
    assert content.tests[0].contains == ["abc"]


def test_line_ends_and_a_byte_order_mark_change_nothing() -> None:
    assert read("\ufeff" + SUMMARIZE.replace("\n", "\r\n")) == read(SUMMARIZE)


def test_a_body_without_roles_is_one_user_message_and_needs_no_front_matter() -> None:
    assert [(m.role, m.template) for m in read("\nHello {{ x }}\n\n").messages] == [("user", "Hello {{ x }}")]


def test_a_line_that_looks_like_a_role_can_be_escaped() -> None:
    content = read("user:\n\\system:\n\\\\user:\nsystem: is fine here\n system:")
    assert content.messages[0].template == "system:\n\\user:\nsystem: is fine here\n system:"
    assert len(content.messages) == 1


def test_the_name_comes_from_the_front_matter_or_from_the_file() -> None:
    assert parse_prompt("---\nname: a/b\n---\nx", "file").name == "a/b"
    assert parse_prompt("x", "file").name == "file"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("---\nname: x\n", "never ends"),
        ("---\nnmae: x\n---\nx", "nmae does not exist (there are: description, few_shot"),
        ("---\nname: [x]\n---\nx", "not text"),
        ("---\n- x\n---\nx", "no table"),
        ("---\nmodel: {a: 1\n---\nx", "front matter, line"),
        ("---\nmodel: {a: 1, a: 2}\n---\nx", "front matter, line 2: 'a' stands here twice"),
        ("---\nmodel: {day: 2026-01-02}\n---\nx", "model.day is a datetime.date, not JSON (put it in quotes?)"),
        ("---\nmodel: {1: x}\n---\nx", "the key 1"),
        ("---\nmodel: !!python/object/apply:os.system ['true']\n---\nx", "could not determine a constructor"),
        ("---\na: &a [x, x]\nb: [*a, *a]\n---\nx", "aliases (*) are not allowed"),
        ("---\nmodel: {<<: {a: 1}}\n---\nx" "x" * 1_000_001, "more than 1,000,000 characters"),
        ("---\nmodel: " + "[" * 5000 + "\n---\nx", "front matter"),
        ("---\npartials: {a: b}\n---\nx", "no list of names"),
        ("hello\nuser:\nx", "line 1 stands before the first role"),
        ("---\nname: x\n---\nhello\nuser:\nx", "line 4 stands before the first role"),
        ("---\ntests: [{name: t, contains: [no]}]\n---\nx", "tests[0].contains[0]: input should be a valid string"),
        ("---\ninputs: {properties: {x: {type: text}}}\n---\nx", "inputs.properties.x.type"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_is_refused_with_the_place(text: str, problem: str) -> None:
    assert problem in refused(text)


ODD = [
    "\x85",
    "\u2028",
    "\ufeff",
    "\t",
    "\x00",
    "\x1b",
    "\r",
    "\n",
    " ",
    "# ",
    ": ",
    "- ",
    "'",
    "no",
    "1:30",
    "~",
    "\U0001f600",
]
CHARACTERS = st.characters(exclude_categories=["Cs"])
TEXT = st.text(CHARACTERS, max_size=30) | st.lists(st.sampled_from(ODD) | CHARACTERS, max_size=8).map("".join)
LINES = st.lists(TEXT | st.sampled_from(["system:", "user: ", "\\assistant:", "---", "", "  "]), max_size=5).map(
    "\n".join
)
VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
FEW_SHOT = st.fixed_dictionaries(
    {"examples": st.lists(st.fixed_dictionaries({"user": TEXT, "assistant": TEXT, "n": VALUE}), min_size=1, max_size=3)}
)
CONTENTS = st.fixed_dictionaries(
    {
        "messages": st.lists(
            st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "template": LINES}),
            min_size=1,
            max_size=4,
        )
    },
    optional={
        "description": TEXT,
        "model": st.dictionaries(TEXT, VALUE, max_size=3),
        "output": st.sampled_from(
            [{}, {"type": "object", "properties": {"a": {"type": "string"}}}, {"enum": ["no", "1", ""]}]
        ),
        "few_shot": st.none() | FEW_SHOT,
        "reasoning": st.none() | st.fixed_dictionaries({"open": TEXT, "close": TEXT.filter(bool), "ask": TEXT}),
        "tests": st.lists(
            st.fixed_dictionaries(
                {"name": TEXT.filter(bool)},
                optional={
                    "inputs": st.dictionaries(TEXT, VALUE, max_size=2),
                    "lacks": st.lists(TEXT, max_size=2),
                    "answer": st.fixed_dictionaries(
                        {}, optional={"equals": TEXT, "contains": st.lists(TEXT, max_size=2)}
                    ),
                },
            ),
            max_size=2,
        ),
        "partials": st.dictionaries(TEXT, st.text("0123456789abcdef", min_size=64, max_size=64), max_size=2),
    },
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(CONTENTS, st.booleans())
@example({"messages": [{"role": "user", "template": "\x85"}], "description": "\x85a\u2028\ufeff"}, False)
def test_what_is_written_to_a_file_reads_back_as_the_same_prompt(raw: dict[str, Any], pinned: bool) -> None:
    content = check_content("p", raw)
    current = (lambda name: None) if pinned else content.partials.get
    found = parse_prompt(write_prompt("a/p", content, current=current), "other")
    assert found.name == "a/p"
    assert found.content(content.partials.get).plain() == content.plain()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.text(max_size=200) | st.lists(st.sampled_from([*"-:[]{}&*!|>'\"#\n ", "---\n", "user:\n", "name"])).map("".join)
)
def test_whatever_stands_in_a_file_there_is_a_prompt_or_a_clear_error(text: str) -> None:
    try:
        read(text)
    except SetupError as error:
        assert error.code == "setup.prompt"


# folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "prompts"
    (made / "legal").mkdir(parents=True)
    (made / "legal" / "summarize.prompt").write_text(SUMMARIZE)
    (made / "answer.prompt").write_text("---\npartials: [tone]\n---\n{% include 'tone' %} Answer.")
    (made / "tone.prompt").write_text("Be kind.")
    (made / "README.md").write_text("no prompt")
    return made


class Database:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = Artifacts(path)

    def view(self) -> View | None:
        return Registry(self.path, "prompt").look() if self.path.exists() else None

    def sync(self, folder: Path) -> list[tuple[str, str, int | None]]:
        done = sync(self.store, read_folder(folder, self.view()), self.view(), who="ann", why="test")
        return [(d.name, d.state, d.version) for d in done]

    def compare(self, folder: Path) -> list[tuple[str, str]]:
        found = compare(read_folder(folder, self.view()), self.view())
        return [(d.name, d.state) for d in found if d.state != "same"]


@pytest.fixture
def db(tmp_path: Path) -> Database:
    return Database(tmp_path / "c.db")


def test_sync_brings_the_database_up_to_the_files_and_then_has_nothing_to_do(folder: Path, db: Database) -> None:
    names = ["answer", "legal/summarize", "tone"]
    assert db.compare(folder) == [(name, "new") for name in names]
    assert not db.path.exists()
    assert db.sync(folder) == [(name, "new", 1) for name in names]
    assert db.compare(folder) == []
    assert db.sync(folder) == [(name, "same", 1) for name in names]
    assert all(set(entry.labels) == {"files"} for entry in (db.view() or View("prompt", {})).entries.values())


def test_a_changed_partial_makes_new_versions_of_what_includes_it(folder: Path, db: Database) -> None:
    db.sync(folder)
    (folder / "tone.prompt").write_text("Be stern.")
    assert db.compare(folder) == [("answer", "changed"), ("tone", "changed")]
    assert db.sync(folder) == [("answer", "changed", 2), ("legal/summarize", "same", 1), ("tone", "changed", 2)]


def test_a_file_that_goes_back_takes_the_label_back_to_that_version(folder: Path, db: Database) -> None:
    db.sync(folder)
    (folder / "tone.prompt").write_text("Be stern.")
    db.sync(folder)
    (folder / "tone.prompt").write_text("Be kind.")
    assert db.compare(folder) == [("answer", "moved"), ("tone", "moved")]
    assert db.sync(folder)[0] == ("answer", "moved", 1)
    assert db.compare(folder) == []


def test_a_file_that_is_gone_takes_its_label_along_and_leaves_its_versions(folder: Path, db: Database) -> None:
    db.sync(folder)
    (folder / "legal" / "summarize.prompt").unlink()
    assert db.compare(folder) == [("legal/summarize", "gone")]
    db.sync(folder)
    assert db.compare(folder) == []
    view = db.view()
    assert view is not None
    assert view.resolve("legal/summarize", 1).version == 1
    assert "files" not in view.entries["legal/summarize"].labels


def test_all_mistakes_in_a_folder_are_named_at_once_and_nothing_is_stored(folder: Path, db: Database) -> None:
    (folder / "a.prompt").write_text("{{ nobody }}")
    (folder / "b.prompt").write_bytes(b"\xff")
    (folder / "c.prompt").write_text("---\nname: tone\n---\nx")
    (folder / "d.prompt").write_text("---\npartials: [nowhere]\n---\nx")
    (folder / "bad name.prompt").write_text("x")
    with pytest.raises(SetupError) as caught:
        db.sync(folder)
    for part in (
        "'nobody' is not among the inputs",
        "b.prompt: Cannot read the prompt",
        "the name 'tone' is that of",
        "no partial 'nowhere'",
        "'bad name' is no name",
    ):
        assert part in caught.value.message, part
    assert not db.path.exists()


def test_partials_that_go_round_in_a_circle_are_a_mistake(folder: Path) -> None:
    (folder / "a.prompt").write_text("---\npartials: [b]\n---\n{% include 'b' %}")
    (folder / "b.prompt").write_text("---\npartials: [a]\n---\n{% include 'a' %}")
    with pytest.raises(SetupError, match="go round in a circle: a → b → a"):
        read_folder(folder)


def test_exported_files_are_in_step_with_the_database_they_come_from(
    folder: Path, db: Database, tmp_path: Path
) -> None:
    db.sync(folder)
    view = db.view()
    assert view is not None
    written = write_folder(tmp_path / "out", view, "latest")
    assert [path.relative_to(tmp_path / "out").as_posix() for path in written] == [
        "answer.prompt",
        "legal/summarize.prompt",
        "tone.prompt",
    ]
    assert db.compare(tmp_path / "out") == []
    assert "- tone" in written[0].read_text()


def test_an_export_pins_a_partial_that_has_moved_on(folder: Path, db: Database, tmp_path: Path) -> None:
    db.sync(folder)
    for name in ("answer", "tone"):
        db.store.move("prompt", name, "prod", 1, who="ann")
    db.store.add("prompt", "tone", {"messages": [{"role": "user", "template": "Be stern."}]}, author="ann")
    view = db.view()
    assert view is not None
    write_folder(tmp_path / "out", view, "latest")
    contents = read_folder(tmp_path / "out", view)
    assert contents["answer"].plain() == view.resolve("answer", "prod").value()
    write_folder(tmp_path / "prod", view, "prod")
    assert "- tone" in (tmp_path / "prod" / "answer.prompt").read_text()
