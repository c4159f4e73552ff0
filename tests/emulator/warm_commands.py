"""Runs command lines of twinml in forks of a process that has imported what they need.

Importing the Azure SDK and MLflow takes longer than most verbs. Run: ``python warm_commands.py``;
each line of stdin is ``{"words": […], "folder": …, "variables": {…}, "out": …, "error": …}``,
answered by the exit code on a line of stdout.
"""

import atexit
import importlib
import json
import os
import sys
import traceback
from typing import Any

from twinml.cli import main

NEEDED = ("azure.ai.ml", "mlflow.sklearn", "sklearn.pipeline", "twinml_azure.platform")


def become(asked: dict[str, Any]) -> None:
    """Make this process the command: its folder, its environment, its output."""
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["variables"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for descriptor, name in ((1, "out"), (2, "error")):
        file = os.open(asked[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, descriptor)
        os.close(file)


def run(words: list[str]) -> int:
    """Run a command line as ``python -m twinml`` does, and return its exit code."""
    try:
        main(words, prog_name="twinml")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def serve() -> None:
    """Run what stdin asks for, until it ends."""
    for name in NEEDED:
        importlib.import_module(name)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            request = json.loads(line)
            become(request)
            sys.argv = ["twinml", *request["words"]]
            code = run(request["words"])
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
