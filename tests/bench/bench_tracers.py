"""Our trace beside OpenTelemetry, Langfuse, LangSmith, MLflow and Phoenix: CPU per span, bytes, what survives kill -9.

``python tests/bench/bench_tracers.py [--peers FOLDER] [--rounds 7] [--spans 2000] [--json]``

Each tracer runs in a process of its own, in the environment ``FOLDER/<name>`` (``make bench`` makes them); those that
have none are reported as not run. Spans have 300 bytes in and 300 out, ten to a trace. OpenTelemetry, Langfuse and
LangSmith send to a sink on loopback that answers 200 and keeps nothing: what they reach is "sent", not "durable".
MLflow writes its own SQLite file. Phoenix's client is OpenTelemetry's; its server runs beside it and writes SQLite.

* cpu_us: CPU of the tracing process per span, all threads, flush included (a server's or sink's own is not in it)
* rate: spans per second from the first one to the end of the flush; Phoenix: until they are in its database
* server_cpu_us: CPU of Phoenix's server per span
* survived: share of the spans that had ended 0.5 s before ``kill -9`` and are there afterwards (ours, MLflow, Phoenix)
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from phoenix_peer import Phoenix
from repeated import medians, ratios
from tracer_clients import CLIENTS, HEAD

ROOT = Path(__file__).resolve().parents[2]
SENT_TO_A_SINK = ("opentelemetry", "langfuse", "langsmith")
SLOW = {"mlflow": 8, "phoenix": 4}
"""Of so many times fewer spans: these take milliseconds for each."""
KEEPS_ITS_FILE = ("mlflow",)
"""A file with nothing but its tables is hundreds of kilobytes here; what spans add to it is counted."""
COUNT = {"chainops": "SELECT count(*) FROM span WHERE status <> 'open'", "mlflow": "SELECT count(*) FROM spans"}
COUNT["phoenix"] = COUNT["mlflow"]


class Sink(ThreadingHTTPServer):
    """Answers everything with 200, and counts bytes."""

    def __init__(self) -> None:
        sink = self
        self.bytes = 0

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                return

            def do_GET(self) -> None:
                self.answer()

            def do_POST(self) -> None:
                sink.bytes += len(self.rfile.read(int(self.headers.get("content-length") or 0)))
                self.answer()

            do_PATCH = do_POST

            def answer(self) -> None:
                self.send_response(200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


def python_of(name: str, peers: Path | None) -> str | None:
    if name == "chainops":
        return sys.executable
    found = peers / name / "bin" / "python" if peers is not None else None
    return str(found) if found is not None and found.exists() else None


def start(name: str, python: str, spans: int, target: str, folder: Path, *more: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT) if name == "chainops" else "",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    program = HEAD + CLIENTS[name]
    return subprocess.Popen(
        [python, "-c", program, str(spans), target, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=folder,  # MLflow leaves files where it is started
    )


def size_of(path: Path) -> int:
    """Bytes of a SQLite file and of what lies beside it."""
    return sum(file.stat().st_size for file in path.parent.glob(path.name + "*"))


def once(name: str, python: str, spans: int, server: Sink | Phoenix, folder: Path) -> dict[str, float]:
    """CPU us per span, spans per second, bytes per span."""
    path = folder / (f"{name}.db" if name in KEEPS_ITS_FILE else f"{name}{time.time_ns()}.db")
    sent = server.bytes if isinstance(server, Sink) else 0
    size = server.size() if isinstance(server, Phoenix) else size_of(path)
    before = (server.spans(), server.cpu_s()) if isinstance(server, Phoenix) else (0, 0.0)
    target = server.url if name in SENT_TO_A_SINK or isinstance(server, Phoenix) else str(path)
    process = start(name, python, spans, target, folder)
    out, error = process.communicate(timeout=600)
    line = next((line for line in out.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise RuntimeError(error.strip().splitlines()[-1] if error.strip() else f"ended with {process.returncode}")
    cpu, rate = json.loads(line[7:])
    found = {"cpu_us": cpu, "rate": rate}
    if isinstance(server, Phoenix):
        ended = time.perf_counter()
        server.wait_for(before[0] + spans + 50)
        found["rate"] = spans / (spans / rate + time.perf_counter() - ended)
        found["server_cpu_us"] = (server.cpu_s() - before[1]) / (spans + 50) * 1e6
        stored = server.size() - size
    else:
        stored = server.bytes - sent if name in SENT_TO_A_SINK else size_of(path) - size
    return found | {"bytes": stored / (spans + 50)}


def killed(name: str, python: str, server: Sink | Phoenix, folder: Path) -> float | None:
    """Share of the spans that had ended 0.5 s before the kill and are in the file."""
    if name not in COUNT:
        return None
    path = server.database if isinstance(server, Phoenix) else folder / f"{name}-kill.db"
    before = server.spans() if isinstance(server, Phoenix) else 0
    process = start(name, python, 0, server.url if isinstance(server, Phoenix) else str(path), folder, "forever")
    assert process.stdout is not None
    until, marks = time.monotonic() + 60, []
    while time.monotonic() < until:
        line = process.stdout.readline().split()
        if len(line) == 2:
            marks.append((int(line[0]), float(line[1])))
            if marks[-1][1] - marks[0][1] > 3:
                break
        elif not line:
            break
    now = time.time()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    old = max((ended for ended, at in marks if at < now - 0.5), default=0)
    if isinstance(server, Phoenix):
        server.settle()
    with sqlite3.connect(path) as db:
        there = db.execute(COUNT[name]).fetchone()[0] - 50 - before
    db.close()
    return min(1.0, max(0, there) / old) if old else None


def measure(
    pythons: dict[str, str | None],
    servers: dict[str, Sink | Phoenix],
    found: dict[str, list[dict[str, float]]],
    report: dict[str, Any],
    folder: Path,
    options: argparse.Namespace,
) -> None:
    """All rounds, the tracers in turn, and then what a kill leaves."""
    for number in range(options.rounds + 1):
        for name, python in pythons.items():
            if python is None or name in report or (number == 0 and name not in KEEPS_ITS_FILE):
                continue
            try:
                row = once(name, python, options.spans // SLOW.get(name, 1), servers[name], folder)
                if number:
                    found[name].append(row)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                report[name] = {"not run": str(error)}
    for name, python in pythons.items():
        if python is None:
            report[name] = {"not run": f"no environment {name!r}: --peers FOLDER"}
        elif name not in report:
            report[name] = {key: [row[key] for row in found[name]] for key in found[name][0]} | {
                "survived": killed(name, python, servers[name], folder)
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--spans", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sink, report = Sink(), dict[str, Any]()
    pythons = {name: python_of(name, options.peers) for name in CLIENTS}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CLIENTS}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        servers: dict[str, Sink | Phoenix] = dict.fromkeys(CLIENTS, sink)
        if (python := pythons["phoenix"]) is not None:
            try:
                servers["phoenix"] = Phoenix(python, folder)
            except RuntimeError as error:
                report["phoenix"] = {"not run": str(error)}
        try:
            measure(pythons, servers, found, report, folder, options)
        finally:
            if isinstance(phoenix := servers["phoenix"], Phoenix):
                phoenix.stop()
    mine = report["chainops"]
    for row in report.values():
        if "cpu_us" in row:
            row["cpu / ours"] = ratios(row["cpu_us"], mine["cpu_us"])
    if options.json:
        print(json.dumps(report))
        return
    for name, row in medians(report).items():
        shown = "  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
        print(f"{name:14} {shown}")


if __name__ == "__main__":
    main()
