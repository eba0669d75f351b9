"""``chainops python``: the interpreter that chainops runs on, for scripts beside an application."""

from __future__ import annotations

import typer

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": False},
    add_help_option=False,
)
def python(context: typer.Context) -> None:
    """Run the Python that chainops runs on, with its options and arguments: a script, -c CODE, -m MODULE.

    In the one file it is the Python inside, with every package that lies there; plugins of --plugins too.
    """
    import os
    import sys

    if (folder := context.find_root().params.get("plugins")) is not None:
        from chainops.plugin.folder import add_folder

        folders = [str(place) for place in add_folder(folder)]
        os.environ["PYTHONPATH"] = os.pathsep.join([*folders, *filter(None, [os.environ.get("PYTHONPATH")])])
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *context.args])  # noqa: S606 - ourselves
