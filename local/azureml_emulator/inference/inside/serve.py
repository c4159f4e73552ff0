"""Start Microsoft's inference server on loopback, for as long as its starter lives.

Runs in a model's own environment, with nothing of this project installed. The starter holds
the other end of standard input and never writes: when that end is closed, however the starter
died, the server is told to end.
"""

import os
import signal
import threading

from azureml_inference_server_http import amlserver


def end_with_starter() -> None:
    """Wait for the end of standard input, then ask this process to stop."""
    # Not through sys.stdin, whose lock a worker would inherit as held, and die of at its end.
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


threading.Thread(target=end_with_starter, daemon=True).start()
# The server listens on all interfaces and has no option for it.
amlserver.DEFAULT_HOST = "127.0.0.1"
amlserver.run()
