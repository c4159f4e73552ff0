"""Ask a running server for the replies of proof.json, byte for byte. Needs Python alone.

TWINML_ENDPOINT_KEY=… python smoke_test.py [http://127.0.0.1:8080]
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

WAIT_SECONDS = 60


def ready(address: str) -> None:
    """Wait until the server can score."""
    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            with urllib.request.urlopen(address + "/ready", timeout=5):
                return
        except OSError as error:
            if time.monotonic() > until:
                sys.exit(f"{address} is not ready after {WAIT_SECONDS} s: {error}")
            time.sleep(0.1)


def post(address: str, asked: dict[str, str], key: str) -> tuple[int, str]:
    """Return status and body of the answer to a request."""
    headers = {"Content-Type": asked["content_type"]}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(
        address + asked["route"], data=asked["body"].encode(), headers=headers
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def main() -> None:
    """Compare every reply."""
    address = (sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080").rstrip("/")
    key = os.environ.get("TWINML_ENDPOINT_KEY", "")
    proof = json.loads((Path(__file__).parent / "proof.json").read_text(encoding="utf-8"))
    ready(address)
    status, _ = post(address, proof[0], "")
    if status != 401:
        sys.exit(f"a request without a key is answered {status}, expected 401")
    for number, asked in enumerate(proof):
        status, reply = post(address, asked, key)
        if (status, reply) != (200, asked["reply"]):
            sys.exit(
                f"request {number} is answered {status} {reply[:300]}\n"
                f"expected 200 {asked['reply'][:300]}"
            )
    print(f"{len(proof)} requests are answered byte for byte as in proof.json")


if __name__ == "__main__":
    main()
