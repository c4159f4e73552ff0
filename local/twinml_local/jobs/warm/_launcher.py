"""Asks the warm process for a fork, and stands for it: its files, its signals, its exit code.

Run by its path with ``python -I -S``, so it imports the standard library only. On the socket it
sends the length of a JSON object as four bytes, with four file descriptors beside (standard
input, output and error, and one end of a *guard*), then the object; the reply is the exit
status as four bytes. The other end of the guard is closed when this process ends, however it
ends, and then the kernel kills the step.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Mapping, Sequence

__all__ = ["SOCKET", "STEPS", "main"]

SOCKET = "TWINML_WARM_SOCKET"
STEPS = "twinml.pipeline.steps."
# The process binds its socket at its first breath.
CONNECT_SECONDS = 5.0
# What an ordinary process would be ended with if its memory were taken.
LOST = 137


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the step in a fork and return its exit code; else become an ordinary Python."""
    own = {**environment}
    address = own.pop(SOCKET, "")
    # The step, and what it starts, find the usual interpreter.
    folder, _, path = own.get("PATH", "").partition(os.pathsep)
    if address and os.path.exists(os.path.join(folder, "python")):
        own["PATH"] = path
    if address and len(arguments) > 1 and arguments[0] == "-m" and arguments[1].startswith(STEPS):
        code = _fork(address, arguments[1:], own)
        if code is not None:
            return code
    os.execve(sys.executable, [sys.executable, *arguments], own)  # noqa: S606 - no shell is meant


def _fork(address: str, arguments: Sequence[str], environment: Mapping[str, str]) -> int | None:
    """Return the exit code of the step, ``None`` if it was not begun."""
    connection = _connect(address)
    if connection is None:
        return None
    guard, other = socket.socketpair()
    body = json.dumps(
        {"arguments": list(arguments), "directory": os.getcwd(), "environment": dict(environment)}
    ).encode()
    descriptors = array.array("i", [0, 1, 2, other.fileno()])
    try:
        connection.sendmsg(
            [struct.pack("!I", len(body))],
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors.tobytes())],
        )
        connection.sendall(body)
        other.close()
        # One byte says that the step has begun: from then on it is not begun again.
        if not connection.recv(1):
            return None
        status = connection.recv(4, socket.MSG_WAITALL)
    except OSError:
        return None
    finally:
        guard.detach()  # Open as long as this process.
    if len(status) < 4:
        sys.stderr.write("error: the process that ran this step was killed\n")
        return LOST
    (code,) = struct.unpack("!i", status)
    if code < 0:
        os.kill(os.getpid(), -code)
    return int(code)


def _connect(address: str) -> socket.socket | None:
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(address)
            return connection
        except ConnectionRefusedError:
            return None
        except OSError:
            connection.close()
            if time.monotonic() > deadline or not os.path.isdir(os.path.dirname(address)):
                return None
            time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
