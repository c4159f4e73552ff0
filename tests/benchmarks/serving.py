"""Measure the scoring server against others on the same model; prints tables, asserts nothing.

Every server runs alone, with one worker process, on 127.0.0.1; requests go over kept
connections, each sending its next one when the last has been answered. First every reply is
compared, byte for byte, with the one whose predictions were looked at; then wrk measures, where
it is installed (``apt-get install wrk``), else the client that compared. Run it on a quiet
machine::

    make bench-serving ARGS="--seconds 4"

Azure ML's inference server pins other versions of common packages, so it gets an environment of
its own in ``.twinml/bench``, made at the first run with the model's own requirements.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import math
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from http_load import Served, ask, drive, drive_with_wrk

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120.0
MOST_SECONDS = 10.0  # of a measurement that takes longer than was asked for
# What is aimed at, in the order of the plan and then memory: times the peers, share of the
# handler that does nothing.
AIMS: dict[str, dict[str, tuple[str, ...]]] = {
    "twinml": {"peer": ("100", "250", "8", "6", "< 0.3"), "null handler": ("0.5", "0.5")},
}
AZURE_SERVER = "azureml-inference-server-http==1.5.1"
# Of an MLflow model's no-code deployment: what it takes and gives, and no step that it could
# do without.
SCORE_SCRIPT = """
import json, os, mlflow, pandas as pd
def init():
    global model
    model = mlflow.pyfunc.load_model(os.environ["MODEL_DIRECTORY"])
def run(raw_data):
    split = json.loads(raw_data)["input_data"]
    frame = pd.DataFrame(split["data"], columns=split["columns"])
    return model.predict(frame).tolist()
"""


def split_under(key: str) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
    def body(rows: list[dict[str, Any]]) -> dict[str, Any]:
        columns = list(rows[0])
        return {key: {"columns": columns, "data": [[row[c] for c in columns] for row in rows]}}

    return body


# The servers


@contextlib.contextmanager
def twinml_server(model: Path, *, compiled: bool = True) -> Iterator[Served]:
    from azureml_runner.processes import running
    from twinml.model import digest
    from twinml_local import endpoints
    from twinml_local.server.deployments import compiling
    from twinml_local.server.deployments.compiling import Outcome, compiled_form, compiler

    with tempfile.TemporaryDirectory() as home:
        os.environ["TWINML_HOME"] = home
        try:
            form = (
                compiled_form(model, digest(model))
                if compiled
                else Outcome(refusal="to be measured", made_with=compiler())
            )
            if form.refusal and compiled:
                raise SystemExit(f"the model is not compiled: {form.refusal}")
            # Deploying compiles a model; here the other way is wanted as well.
            with mock.patch.object(compiling, "compiled_form", return_value=form):
                endpoints.deploy(
                    "bench", "blue", directory=model, model="m", version="1", digest=digest(model)
                )
            endpoints.stop()
            began = time.monotonic()
            port = int(endpoints.start("bench").scoring_uri.split(":")[2].split("/")[0])
            pid = running(Path(home) / "endpoints" / "bench" / "server.pid")
            key = endpoints.keys("bench").primary
            route, body = "/invocations", split_under("dataframe_split")
            yield Served(port, pid or 0, route, body, key, time.monotonic() - began)
        finally:
            endpoints.stop()


@contextlib.contextmanager
def process(
    command: list[str], route: str, body_key: str, port: int, **environment: str
) -> Iterator[Served]:
    """Start a server of somebody else's, wait until it takes connections, end it."""
    began = time.monotonic()
    with (
        tempfile.TemporaryFile() as output,
        subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        ) as started,
    ):
        try:
            while True:
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                if started.poll() is not None or time.monotonic() - began > START_SECONDS:
                    output.seek(0)
                    said = output.read()[-2000:].decode(errors="replace")
                    raise SystemExit(f"{command[0]} did not start:\n{said}")
                time.sleep(0.05)
            yield Served(port, started.pid, route, split_under(body_key), "", -began)
        finally:
            os.killpg(started.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                started.wait(timeout=10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def null_handler(model: Path) -> Iterator[Served]:
    """Start the same HTTP server around a handler that does nothing."""
    port = free_port()
    command = [sys.executable, __file__, "--null", str(port)]
    with process(command, "/invocations", "dataframe_split", port) as served:
        yield served


class NullFront:
    """Answers every request at once."""

    def __init__(self) -> None:
        from twinml_local.server import ServerSettings, Serving
        from twinml_local.server.scoring.front import Reply

        self.serving = Serving("null", {}, {}, (), settings=ServerSettings())
        body = b'{"predictions":["no"]}'
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        self.reply = Reply(200, headers, body)

    def begin(self, environ: dict[str, Any]) -> tuple[Any, str]:
        return SimpleNamespace(serving=self.serving), "invocations"

    def turned_away(self, exchange: Any, route: str) -> None:
        return None

    def refusal(self, exchange: Any, route: str) -> None:
        return None

    def at_once(self, exchange: Any, size: int) -> bool:
        return True

    def answer(self, exchange: Any, route: str, body: bytes, *, wait: bool = True) -> Any:
        return self.reply


async def serve_null(port: int) -> None:
    from twinml_local.server.process._connection import Connection
    from twinml_local.server.process._traffic import Traffic

    loop = asyncio.get_running_loop()
    pool = ThreadPoolExecutor(1)
    front: Any = NullFront()
    traffic = Traffic(front, loop, pool, pool, pool)
    traffic.tick()
    server = await loop.create_server(lambda: Connection(traffic), "127.0.0.1", port)
    await server.serve_forever()


@contextlib.contextmanager
def mlflow_server(model: Path, threads: str = "1") -> Iterator[Served]:
    port = free_port()
    program = str(Path(sys.executable).with_name("mlflow"))
    command = [program, "models", "serve", "-m", str(model), "-p", str(port), "-w", "1"]
    command += ["-h", "127.0.0.1", "--env-manager", "local"]
    # The server is started through a shell that looks for its program on the path.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "PATH": path}
    quiet["OMP_NUM_THREADS"] = threads
    with process(command, "/invocations", "dataframe_split", port, **quiet) as served:
        yield served


@contextlib.contextmanager
def azure_server(model: Path) -> Iterator[Served]:
    program, port = azure_program(model), free_port()
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "score.py"
        script.write_text(SCORE_SCRIPT)
        command = [str(program), "--entry_script", str(script), "--port", str(port)]
        environment = {"MODEL_DIRECTORY": str(model), "WORKER_COUNT": "1"}
        with process(command, "/score", "input_data", port, **environment) as served:
            yield served


def azure_program(model: Path) -> Path:
    """Return Azure ML's inference server in an environment of its own, made if need be."""
    needed = (model / "requirements.txt").read_text() + f"\n{AZURE_SERVER}\n"
    place = ROOT / ".twinml" / "bench" / "azmlinfsrv"
    program, marker = place / "bin" / "azmlinfsrv", place / "installed.txt"
    if not (program.exists() and marker.exists() and marker.read_text() == needed):
        print(f"making an environment for {AZURE_SERVER} …", flush=True)
        uv = str(Path(sys.executable).with_name("uv"))
        made = [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(place)]
        subprocess.run(made, check=True)
        python = str(place / "bin" / "python")
        wanted = ["-r", str(model / "requirements.txt"), AZURE_SERVER]
        installed = [uv, "pip", "install", "--quiet", "--python", python, *wanted]
        subprocess.run(installed, check=True)
        marker.write_text(needed)
    return program


# The measurement


def memory_of(pid: int) -> float:
    """Return the memory of a process and its descendants in MB, shared pages counted once."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            fields = path.read_text().rsplit(")", 1)[1].split()
            children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    total, waiting = 0, [pid]
    while waiting:
        each = waiting.pop()
        waiting += children.get(each, [])
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def labels_of(reply: bytes) -> list[Any]:
    shape = json.loads(reply)
    return list(shape["predictions"] if isinstance(shape, dict) else shape)


def measure(
    served: Served, table: list[dict[str, Any]], truth: dict[int, list[Any]], options: Any
) -> dict[str, Any]:
    """Load one server in every way; ``truth`` keeps the first server's predictions."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError):
            if ask(served, table[:1])[0] == 200:
                break
        if time.monotonic() > deadline:
            raise SystemExit("the server never scored")
        time.sleep(0.05)
    if served.start_seconds < 0:  # began at that moment; until the first answer
        served.start_seconds += time.monotonic()
    found: dict[str, Any] = {"start": served.start_seconds}
    for name, n_rows, connections in options.plan:
        rows = [table[at % len(table)] for at in range(n_rows)]
        began = time.monotonic()
        status, expected = ask(served, rows)
        took = time.monotonic() - began
        if status != 200:
            raise SystemExit(f"{name}: status {status}, {expected[:300]!r}")
        labels = labels_of(expected)
        if truth.setdefault(n_rows, labels) != labels and len(labels) == n_rows:
            print(f"  {name}: other predictions than the first server's", flush=True)
        # Some replies at least, and of a slow server in no more than a while.
        seconds = max(options.seconds, min(4 * took * connections, MOST_SECONDS))
        quick = seconds / 5 if options.wrk else seconds
        checked = drive(served, rows, expected, connections=connections, seconds=quick)
        if checked.reconnects:
            print(f"  {name}: the server closed {checked.reconnects} connections", flush=True)
        if options.wrk:
            if checked.errors:
                print(f"  {name}: {checked.errors} replies were not the expected one", flush=True)
            checked = drive_with_wrk(served, rows, connections=connections, seconds=seconds)
        found[name] = checked
    found["memory"] = memory_of(served.pid)
    return found


def print_tables(results: dict[str, dict[str, Any]], plan: list[tuple[str, int, int]]) -> None:
    width = max(map(len, results)) + 2
    for name, _, _ in plan:
        print(f"\n{name}")
        print(f"{'':{width}}{'req/s':>10}{'p50 ms':>10}{'p95 ms':>10}{'p99 ms':>10}{'errors':>8}")
        for server, found in results.items():
            load = found[name]
            print(
                f"{server:{width}}{load.rate:10.1f}{load.at(50):10.2f}{load.at(95):10.2f}"
                f"{load.at(99):10.2f}{load.errors:8d}"
            )
    print(f"\n{'':{width}}{'start s':>10}{'MB':>10}")
    for server, found in results.items():
        print(f"{server:{width}}{found['start']:10.1f}{found['memory']:10.0f}")
    print_ratios(results, [name for name, _, _ in plan])


def print_ratios(results: dict[str, dict[str, Any]], names: list[str]) -> None:
    """Print how many times as fast ours is, with what is aimed at beside it, as (aim)."""
    width = max(map(len, results)) + 2
    columns = [*names, "memory"]
    for first in [server for server in results if server in AIMS]:
        print(f"\n{first}: how many times what the others do, and (the aim)")
        print(f"{'':{width}}" + "".join(f"{name:>24}" for name in columns))
        for server, found in results.items():
            if server.startswith("twinml"):
                continue
            # Division by zero where a server has answered nothing.
            ratios = [results[first][name].rate / (found[name].rate or math.nan) for name in names]
            ratios.append(results[first]["memory"] / found["memory"])
            aims = AIMS[first].get(server if server.startswith("null") else "peer", ())
            cells = [
                f"{ratio:.2f}" + (f" ({aim})" if aim else "")
                for ratio, aim in itertools.zip_longest(ratios, aims)
            ]
            print(f"{server:{width}}" + "".join(f"{cell:>24}" for cell in cells))
        spread = [results[first][name].at(99) / results[first][name].at(50) for name in names[:2]]
        print(
            f"p99 over p50: {spread[0]:.1f} and {spread[1]:.1f} (< 5); "
            f"start {results[first]['start']:.2f} s (< 0.7)"
        )


def rows_for(model: Path) -> list[dict[str, Any]]:
    """Return rows of the bundled data if the model is of it, else the contract's samples."""
    from twinml.data import bundled, load
    from twinml.model import load_contract

    contract = load_contract(model)
    with contextlib.suppress(Exception):
        frame = load(bundled(), contract.target).frame
        if set(contract.column_names) <= set(frame.columns):
            chosen = frame[list(contract.column_names)].sample(10_000, random_state=0)
            return [dict(row) for row in json.loads(chosen.to_json(orient="records"))]
    return [dict(row) for row in contract.samples]


def main() -> None:
    """Measure every server in turn and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", type=Path, help="A model directory [default: the newest trained]."
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="Of each measurement.")
    parser.add_argument("--servers", nargs="+", help="Only those whose names hold one of these.")
    parser.add_argument("--null", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.null:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve_null(options.null))
        return
    options.wrk = shutil.which("wrk") is not None
    from twinml.settings import home, quiet_libraries

    quiet_libraries()
    trained = sorted((home() / "models").glob("*/MLmodel"), key=lambda path: path.stat().st_mtime)
    if options.model is None and not trained:
        raise SystemExit("there is no model to serve: run `make train` first, or give --model")
    model = (options.model or trained[-1].parent).resolve()
    options.plan = [
        ("1 row, 1 connection", 1, 1),
        ("1 row, 16 connections", 1, 16),
        ("1,000 rows", 1000, 1),
        ("10,000 rows", 10_000, 1),
    ]
    table = rows_for(model)
    servers: dict[str, Callable[[Path], Any]] = {
        "twinml": twinml_server,
        "twinml, pipeline": lambda model: twinml_server(model, compiled=False),
        "null handler": null_handler,
        "mlflow models serve": mlflow_server,
        # Long requests are where its learners use them; ours shares the rows out as well.
        "mlflow, a thread a core": lambda model: mlflow_server(model, str(os.cpu_count() or 1)),
        "azmlinfsrv": azure_server,
    }
    if options.servers:
        servers = {
            name: serve
            for name, serve in servers.items()
            if any(word in name for word in options.servers)
        }
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f}, measured with {'wrk' if options.wrk else 'a Python client'}"
    )
    results: dict[str, dict[str, Any]] = {}
    truth: dict[int, list[Any]] = {}
    for name, serve in servers.items():
        print(f"measuring {name} …", flush=True)
        with serve(model) as served:
            results[name] = measure(served, table, truth, options)
    print_tables(results, options.plan)


if __name__ == "__main__":
    main()
