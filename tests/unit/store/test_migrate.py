import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from chainops.errors import StoreError
from chainops.store import migrate, schema, tables
from chainops.store.shipped import shipped


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trace.db"


def pragma(path, name):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]
    finally:
        connection.close()


def test_the_version_constant_is_alembics_head():
    assert int(migrate.alembic_head()) == schema.SCHEMA_VERSION


def test_a_fresh_file_gets_the_whole_schema_and_a_second_upgrade_changes_nothing(path):
    assert migrate.upgrade(path) == (0, schema.SCHEMA_VERSION)
    before = path.read_bytes()
    assert migrate.upgrade(path) == (schema.SCHEMA_VERSION, schema.SCHEMA_VERSION)
    assert path.read_bytes() == before
    assert pragma(path, "user_version") == schema.SCHEMA_VERSION
    assert pragma(path, "application_id") == schema.APPLICATION_ID
    assert pragma(path, "journal_mode") == "wal"
    assert pragma(path, "auto_vacuum") == 2


def test_the_migrations_make_exactly_the_tables_of_the_sqlmodel_classes(path):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from sqlalchemy import create_engine

    migrate.upgrade(path)
    engine = create_engine(f"sqlite:///{path}")
    options = {
        "compare_type": True,
        "include_object": lambda item, name, kind, reflected, other: not name.startswith("span_search"),
    }
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, tables.TraceTable.metadata) == []
    engine.dispose()


def test_a_sqlmodel_session_reads_what_the_schema_holds(path):
    from sqlalchemy import create_engine
    from sqlmodel import Session, select

    migrate.upgrade(path)
    engine = create_engine(f"sqlite:///{path}")
    with Session(engine) as session:
        session.add(tables.Run(run_id="r", process=1, graph="g", status="ok", start_ns=1))
        session.commit()
        assert session.exec(select(tables.Run)).one().run_id == "r"
    engine.dispose()


def copy_of_migrations(tmp_path, body):
    """The shipped migrations with one more behind them."""
    copy = tmp_path / "migrations"
    shutil.copytree(shipped("migrations"), copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "versions" / "9999_next.py").write_text(
        f"from alembic import op\nrevision = '9999'\ndown_revision = '{migrate.alembic_head()}'\ndef upgrade():\n"
        + body
    )
    return copy


@pytest.mark.parametrize("fresh", [True, False])
def test_a_migration_that_fails_in_the_middle_leaves_the_file_as_it_was(path, tmp_path, fresh):
    if not fresh:
        migrate.upgrade(path)
    migrations = copy_of_migrations(
        tmp_path,
        "    op.execute('CREATE TABLE half (a)')\n"
        "    op.execute('ALTER TABLE span ADD COLUMN half TEXT')\n"
        "    raise RuntimeError('power cut')\n",
    )
    connection = schema.connect(path)
    with pytest.raises(RuntimeError, match="power cut"):
        migrate.prepare(connection, path, migrations=migrations)
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    columns = {row[1] for row in connection.execute("PRAGMA table_info(span)")}
    connection.close()
    assert "half" not in names | columns
    assert ("span" in names) is (not fresh)
    assert pragma(path, "user_version") == (0 if fresh else schema.SCHEMA_VERSION)
    assert migrate.upgrade(path)[1] == schema.SCHEMA_VERSION


def test_a_process_killed_in_a_migration_leaves_the_file_as_it_was(path, tmp_path):
    migrate.upgrade(path)
    migrations = copy_of_migrations(
        tmp_path,
        "    import os, signal\n    op.execute('CREATE TABLE half (a)')\n    os.kill(os.getpid(), signal.SIGKILL)\n",
    )
    program = (
        "import sys; from pathlib import Path; from chainops.store import migrate, schema;"
        "migrate.prepare(schema.connect(sys.argv[1]), sys.argv[1], migrations=Path(sys.argv[2]))"
    )
    done = subprocess.run([sys.executable, "-c", program, path, migrations], timeout=60)
    assert done.returncode == -9
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name='half'").fetchone()[0] == 0
    connection.close()


def test_a_migration_that_works_is_applied(path, tmp_path):
    migrate.upgrade(path)
    connection = schema.connect(path)
    migrations = copy_of_migrations(tmp_path, "    op.execute('CREATE TABLE whole (a)')\n")
    migrate.prepare(connection, path, migrations=migrations)
    assert connection.execute("SELECT version_num FROM alembic_version").fetchone()[0] == "9999"
    assert connection.execute("SELECT count(*) FROM whole").fetchone()[0] == 0
    connection.close()


def test_a_file_of_a_newer_version_is_refused_and_left_alone(path):
    migrate.upgrade(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    before = path.read_bytes()
    for opening in (migrate.upgrade, schema.open_reader):
        with pytest.raises(StoreError) as caught:
            opening(path)
        assert caught.value.code == "store.newer"
        assert "99" in caught.value.message
        assert "Upgrade" in caught.value.hint
    assert path.read_bytes() == before


def test_a_database_of_another_program_is_refused_and_left_alone(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE orders (id)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError) as caught:
        migrate.upgrade(path)
    assert caught.value.code == "store.foreign"
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "code"), [(None, "store.missing"), (b"", "store.empty"), (b"no database" * 999, "store.broken")]
)
def test_a_file_that_cannot_be_read_is_one_clear_error(path, content, code):
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        schema.open_reader(path)
    assert caught.value.code == code
    assert caught.value.hint
    assert str(path) in caught.value.message


def test_artifacts_and_labels_can_neither_be_changed_nor_deleted(path):
    migrate.upgrade(path)
    connection = sqlite3.connect(path)
    connection.execute(
        "INSERT INTO artifact (kind, name, version, sha256, author, message, content, created_ns)"
        " VALUES ('prompt', 'p', 1, 'x', '', '', 'hi', 1)"
    )
    connection.execute(
        "INSERT INTO label (kind, name, label, to_version, who, why, created_ns)"
        " VALUES ('prompt', 'p', 'prod', 1, 'me', '', 1)"
    )
    for statement in (
        "UPDATE artifact SET content='x'",
        "DELETE FROM artifact",
        "UPDATE label SET to_version=2",
        "DELETE FROM label",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="never changed or deleted"):
            connection.execute(statement)
    connection.close()


def test_opening_a_current_file_imports_neither_alembic_nor_sqlmodel(path):
    migrate.upgrade(path)
    program = (
        "import sys; import chainops.middleware.trace; from chainops.store import migrate;"
        "migrate.upgrade(sys.argv[1]);"
        "print([m for m in ('alembic', 'sqlalchemy', 'sqlmodel', 'langgraph') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_what_the_wheel_ships_is_found_or_the_error_says_where_it_should_be():
    assert (shipped("migrations") / "env.py").is_file()
    with pytest.raises(StoreError) as caught:
        shipped("no-such-folder")
    assert caught.value.code == "store.shipped"


def test_several_new_files_can_be_made_at_once_in_one_process(tmp_path):
    paths = [tmp_path / f"{i}.db" for i in range(6)]
    with ThreadPoolExecutor(len(paths)) as pool:
        assert list(pool.map(migrate.upgrade, paths)) == [(0, schema.SCHEMA_VERSION)] * len(paths)
    for path in paths:
        with sqlite3.connect(path) as db:
            assert db.execute("SELECT count(*) FROM span").fetchone() == (0,)
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        db.close()


def old_file(path, tmp_path, monkeypatch):
    """A file as the first version of chainops made it."""
    folder = tmp_path / "old"
    shutil.copytree(shipped("migrations"), folder)
    for later in (folder / "versions").glob("*.py"):
        if not later.name.startswith("0001"):
            later.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "SCHEMA_VERSION", 1)
        connection = schema.connect(path)
        migrate.prepare(connection, path, migrations=folder)
        connection.close()


def test_an_old_file_is_copied_before_it_is_upgraded(path, tmp_path, monkeypatch):
    old_file(path, tmp_path, monkeypatch)
    assert migrate.upgrade(path) == (1, schema.SCHEMA_VERSION)
    kept = path.with_name(path.name + ".schema-1")
    assert pragma(kept, "user_version") == 1
    connection = sqlite3.connect(kept)
    assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    connection.close()
    assert [p.name for p in path.parent.glob("*.part*")] == []


def test_without_room_for_the_copy_nothing_is_upgraded(path, tmp_path, monkeypatch):
    old_file(path, tmp_path, monkeypatch)
    kept = path.with_name(path.name + ".schema-1")
    kept.mkdir()  # the copy cannot get its name
    with pytest.raises(StoreError) as caught:
        migrate.upgrade(path)
    assert caught.value.code == "store.keep"
    assert pragma(path, "user_version") == 1
