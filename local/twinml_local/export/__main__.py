"""Serve an exported folder: ``python -m twinml_local.export FOLDER [--host …] [--port …]``.

Keys come from the environment (``TWINML_ENDPOINT_KEY``, and ``TWINML_ENDPOINT_KEY_2`` for a second
one) or, without, are made once and kept in the state folder, for its owner alone. What is written
(keys, logs, telemetry) goes to the state folder; the exported folder is only read.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from collections.abc import MutableMapping
from dataclasses import replace
from pathlib import Path

from azureml_runner.files import write_atomic
from twinml.errors import TwinmlError, UsageError
from twinml_local.keys import generate_keys
from twinml_local.server.deployments.compiling import compiler
from twinml_local.server.deployments.watch import KEYS_FILE
from twinml_local.server.process import listen
from twinml_local.server.process.settings import with_environment
from twinml_local.server.state import EndpointState, read_state, write_state

__all__ = ["given_keys", "prepare"]

KEY, SECOND_KEY = "TWINML_ENDPOINT_KEY", "TWINML_ENDPOINT_KEY_2"
SHORTEST_KEY = 16  # characters
ENDPOINT = "endpoint"


def given_keys(environment: MutableMapping[str, str]) -> tuple[str, str] | None:
    """Take the keys out of an environment; ``None`` where it has none.

    Without a second key there is a random one that nobody knows.

    Raises
    ------
    UsageError
        A key is too short to be none that somebody guesses.

    Examples
    --------
    >>> given_keys({}) is None
    True
    """
    first, second = environment.pop(KEY, ""), environment.pop(SECOND_KEY, "")
    for name, value in ((KEY, first), (SECOND_KEY, second)):
        if value and len(value) < SHORTEST_KEY:
            raise UsageError(
                f"{name} has {len(value)} characters",
                hint=f"Take at least {SHORTEST_KEY}, for example of: openssl rand -base64 32.",
            )
    if not first:
        if second:
            raise UsageError(f"{SECOND_KEY} is set without {KEY}", hint=f"Set {KEY}.")
        return None
    return first, second or secrets.token_urlsafe(32)


def prepare(folder: Path, state: Path, environment: MutableMapping[str, str]) -> EndpointState:
    """Make the state folder of an exported endpoint, and return what it serves.

    Raises
    ------
    TwinmlError
        The folder is no exported one, or the environment has a value that cannot be.
    """
    exported = read_state(folder / ENDPOINT)
    keys = given_keys(environment)
    # An outcome holds for the machine that compiled; here nothing can be compiled anew.
    deployments = {
        name: replace(
            item,
            directory=str(folder / ENDPOINT / item.directory),
            compiled=str(folder / ENDPOINT / item.compiled) if item.compiled else "",
            made_with=compiler(),
        )
        for name, item in exported.deployments.items()
    }
    settings = with_environment(exported.settings, environment)
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    served = replace(exported, deployments=deployments, settings=settings)
    write_state(state, served)
    if keys is not None:
        content = json.dumps({"primary": keys[0], "secondary": keys[1]})
        write_atomic(state / KEYS_FILE, content, mode=0o600)
    elif not (state / KEYS_FILE).exists():
        generate_keys(state / KEYS_FILE)
        sys.stderr.write(f"keys were made: {state / KEYS_FILE}\n")
    return served


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m twinml_local.export", description=__doc__)
    parser.add_argument("folder", type=Path, help="what twinml export wrote")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--state", type=Path, help="keys, logs, telemetry [FOLDER/state]")
    options = parser.parse_args()
    folder = options.folder.resolve()
    os.umask(0o077)
    try:
        state = (options.state or folder / "state").resolve()
        served = prepare(folder, state, os.environ)
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        if all(item.compiled for item in served.deployments.values()):
            # A pickle that came along is part of the model's digest, and is not to be run.
            os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        listening = listen.listener(options.host, options.port)
        listen.serve(listen.default(), state, listening=listening, settings=served.settings)
    except TwinmlError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
