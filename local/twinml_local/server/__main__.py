"""The server process: ``python -m twinml_local.server --directory HOME/endpoints/NAME …``.

Models, traffic, keys and limits are read from the folder and never from the command line,
which every user of the machine can read. SIGTERM stops accepting, lets requests in flight
finish and ends.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from dataclasses import replace
from pathlib import Path

# One thread a request: the thread pools of the learners cost more than they give on one row.
# Set before anything loads them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from azureml_runner.processes import record_process, running
from twinml.errors import TwinmlError
from twinml_local.server.process import listen
from twinml_local.server.process.control import PID_FILE
from twinml_local.server.state import read_state


def main() -> None:
    """Serve the endpoint in ``--directory`` until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m twinml_local.server", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="the endpoint's folder")
    parser.add_argument("--host", default="127.0.0.1")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", type=int)
    where.add_argument(
        "--service", action="store_true", help="on the endpoint's own port; keeps the pid file"
    )
    where.add_argument("--fd", type=int, help="a socket that listens, inherited")
    parser.add_argument("--workers", type=int, help="processes that score")
    parser.add_argument("--server", choices=listen.SERVERS, default=listen.default())
    options = parser.parse_args()
    directory = options.directory.resolve()
    # What it writes is about other people's data: logs, telemetry, collected rows.
    os.umask(0o077)
    try:
        state = read_state(directory)
        settings = replace(state.settings, workers=options.workers or state.settings.workers)
        if options.service:
            if running(directory / PID_FILE) is not None:
                sys.stderr.write(f"endpoint '{state.name}' runs already\n")
                return
            listening = listen.listener(state.host, state.port)
            record_process(directory / PID_FILE, os.getpid())
        elif options.fd is not None:
            listening = socket.socket(fileno=options.fd)
            # What this process starts must not keep the port when it is gone.
            listening.set_inheritable(False)
        else:
            listening = listen.listener(options.host, options.port)
        listen.serve(options.server, directory, listening=listening, settings=settings)
    except TwinmlError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
