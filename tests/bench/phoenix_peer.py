"""A Phoenix server beside a benchmark: its database, and the CPU that it takes itself."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import time
import urllib.request
from contextlib import closing
from pathlib import Path


class Phoenix:
    """``phoenix serve`` in ``folder`` on loopback, telemetry off; ready when made (up to two minutes).

    Raises:
        RuntimeError: it did not start.
    """

    def __init__(self, python: str, folder: Path) -> None:
        self.database = folder / "phoenix.db"
        port, grpc = _free_port(), _free_port()
        environment = {
            **os.environ,
            "PYTHONPATH": "",
            "PHOENIX_WORKING_DIR": str(folder),
            "PHOENIX_TELEMETRY_ENABLED": "false",
            "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
            "PHOENIX_HOST": "127.0.0.1",
            "PHOENIX_PORT": str(port),
            "PHOENIX_GRPC_PORT": str(grpc),
        }
        self.url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [str(Path(python).with_name("phoenix")), "serve"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=folder,
        )
        deadline = time.monotonic() + 120
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError("Phoenix did not start")
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + "/healthz", timeout=1) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    def spans(self) -> int:
        """Spans in its database."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=10)) as db:
            return int(db.execute("SELECT count(*) FROM spans").fetchone()[0])

    def wait_for(self, spans: int, seconds: float = 60) -> None:
        """Until so many spans are in the database.

        Raises:
            RuntimeError: they are not, in time.
        """
        deadline = time.monotonic() + seconds
        while (there := self.spans()) < spans:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{there} of {spans} spans reached Phoenix's database in {seconds:.0f} s")
            time.sleep(0.01)

    def settle(self, seconds: float = 60) -> None:
        """Until no more spans have come for three seconds: what has reached the server is written later."""
        deadline, there = time.monotonic() + seconds, -1
        while there != (there := self.spans()) and time.monotonic() < deadline:
            time.sleep(3)

    def size(self) -> int:
        """Bytes of the database, the log beside it included."""
        return sum(file.stat().st_size for file in self.database.parent.glob("phoenix.db*"))

    def cpu_s(self) -> float:
        """CPU that the server has taken so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End the server."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
