"""How to call the endpoint: commands and code for one real row, without a key."""

from __future__ import annotations

import json
import pprint
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twinml.contract import example
from twinml.contract.dialects import DEFAULT

if TYPE_CHECKING:
    from twinml.contract import Contract
    from twinml.platform import EndpointInfo

__all__ = ["Call", "calls"]


@dataclass(frozen=True)
class Call:
    """One way to call: what it is done with, and the text to paste."""

    title: str
    text: str


def calls(contract: Contract, endpoint: EndpointInfo | None, model: str) -> list[Call]:
    """Return the ways to call the endpoint; without one, the command that deploys comes first.

    The key is never in the text: it is read from the variable ``KEY``.
    """
    body = example(contract, DEFAULT.name, n=1)
    uri = shlex.quote(endpoint.scoring_uri) if endpoint else "…"
    shell = "\n".join(
        [
            f"URI={uri}",
            "KEY=…        # twinml status --show-keys",
            'curl -sS "$URI" -H "Authorization: Bearer $KEY" \\',
            '  -H "Content-Type: application/json" \\',
            f"  -d {shlex.quote(json.dumps(body, ensure_ascii=False))}",
        ]
    )
    python = "\n".join(
        [
            "import os",
            "",
            "import requests",
            "",
            f"uri = {endpoint.scoring_uri!r}" if endpoint else 'uri = os.environ["URI"]',
            _assign("columns", body[DEFAULT.key]["columns"]),
            _assign("row", body[DEFAULT.key]["data"][0]),
            f'body = {{"{DEFAULT.key}": {{"columns": columns, "index": [0], "data": [row]}}}}',
            "reply = requests.post(",
            '    uri, json=body, headers={"Authorization": f"Bearer {os.environ[\'KEY\']}"}, '
            "timeout=30",
            ")",
            "reply.raise_for_status()",
            "print(reply.json())",
        ]
    )
    known = f" --endpoint {shlex.quote(endpoint.name)}" if endpoint else ""
    deploy = Call("Deploy it first", f"twinml deploy --model {shlex.quote(model)}")
    return [
        *([] if endpoint else [deploy]),
        Call(
            "twinml (finds address and key by itself)",
            f"twinml score{known} --data rows.csv",
        ),
        Call("curl", shell),
        Call("Python", python),
    ]


def _assign(name: str, values: list[object]) -> str:
    head = f"{name} = "
    lines = pprint.pformat(values, compact=True, width=88 - len(head))
    return head + lines.replace("\n", "\n" + " " * len(head))
