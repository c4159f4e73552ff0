"""Start Microsoft's inference server on loopback, for as long as its starter lives.

Runs in a model's own environment (Python 3.6 or newer), with nothing of this project installed.
The starter holds
the other end of standard input and never writes: when that end is closed, however the starter
died, the server is told to end.
"""

import os
import signal
import sys
import threading
from importlib.util import find_spec
from types import ModuleType

from azureml_inference_server_http import amlserver

CONTRIB = "azureml.contrib.services"


def stand_for_contrib() -> None:
    """Put empty modules where ``azureml-contrib-services`` is not installed.

    Older servers import its modules only to put their own in their place.
    """
    server = find_spec("azureml_inference_server_http.server")
    # Of a package without a file of its own Python 3.6 says that it is at 'namespace'.
    if server is None or server.origin is None or not server.has_location:
        return
    with open(server.origin, encoding="utf-8") as file:
        if f"import {CONTRIB}" not in file.read():
            return
    names = ("azureml", "azureml.contrib", CONTRIB)
    for name in names:
        parent = name.rpartition(".")[0]
        if (parent in names and isinstance(sys.modules.get(parent), Empty)) or not find_spec(name):
            sys.modules.setdefault(name, Empty(name))
    if isinstance(sys.modules.get(CONTRIB), Empty):
        for name in ("aml_request", "aml_response"):
            sys.modules[CONTRIB + "." + name] = Empty(CONTRIB + "." + name)


class Empty(ModuleType):
    """A module that holds nothing."""


def end_with_starter() -> None:
    """Wait for the end of standard input, then ask this process to stop."""
    # Not through sys.stdin, whose lock a worker would inherit as held, and die of at its end.
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


threading.Thread(target=end_with_starter, daemon=True).start()
stand_for_contrib()
# The server listens on all interfaces and has no option for it.
amlserver.DEFAULT_HOST = "127.0.0.1"
amlserver.run()
