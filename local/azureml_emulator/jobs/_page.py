"""The page of a job on loopback: what the SDK's "Web View" leads to here.

``http://127.0.0.1:PORT/runs/NAME?key=KEY`` shows status, error, children and logs. The key is made
of the emulator's secret and the job's name: who has the address may read, others may not.
"""

from __future__ import annotations

import hashlib
import hmac
from html import escape
from urllib.parse import quote

from werkzeug.wrappers import Response

from azureml_emulator.account import LOCAL_HOST, Account
from azureml_emulator.errors import not_found
from azureml_emulator.identity import tokens
from azureml_emulator.jobs.records import Records
from azureml_emulator.jobs.runs import Run
from azureml_emulator.routing import Call, Route

__all__ = ["RunPages"]

LOGS = ("user_logs", "azureml-logs", "logs")
MOST_BYTES = 200_000
REFRESH_SECONDS = 3
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem}
h1{font-size:1.3rem;margin:0} h2{font-size:1rem;margin:1.6rem 0 .4rem}
pre{background:#f4f4f2;border-radius:6px;overflow:auto;padding:.8rem;white-space:pre-wrap}
.Failed{color:#a4262c} .Completed{color:#0b6a0b} .error{border-left:4px solid #a4262c}
td{padding:.15rem 1.2rem .15rem 0} a{color:#0b5394}
@media (prefers-color-scheme:dark){body{background:#1b1b1b;color:#ddd}pre{background:#2a2a2a}
a{color:#8ab4f8}.Failed{color:#ff8f8f}.Completed{color:#7ed87e}}
"""


class RunPages:
    """Serves the pages of runs.

    Parameters
    ----------
    account
        Has the secret that keys are made of.
    records
        Has the runs and their logs.
    """

    def __init__(self, account: Account, records: Records) -> None:
        self._account, self._records = account, records
        self.base = ""

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [Route("GET", LOCAL_HOST, "/runs/{run}", self._show)]

    def address(self, run: str) -> str:
        """Return where the page of a run is; the SDK puts ``&tid=…`` at its end."""
        return f"{self.base}/runs/{quote(run, safe='')}?key={self._key(run)}"

    def _key(self, run: str) -> str:
        secret = self._account.client_secret.encode()
        return hmac.new(secret, f"page of {run}".encode(), hashlib.sha256).hexdigest()[:32]

    def _show(self, call: Call) -> Response:
        run = self._records.runs.get(call["run"])
        if run is None or not tokens.same(call.query.get("key", ""), [self._key(call["run"])]):
            raise not_found(call["run"])
        return Response(
            self._page(run),
            content_type="text/html; charset=utf-8",
            headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"},
        )

    def _page(self, run: Run) -> str:
        refresh = "" if run.over else f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">'
        above = f"in {self._link(run.parent, run.parent)} " if run.parent else ""
        return "".join(
            [
                "<!doctype html><html lang='en'><meta charset='utf-8'>",
                f"<title>{escape(run.display)}: {run.status}</title>{refresh}",
                f"<style>{_STYLE}</style><h1>{escape(run.display)} ",
                f"<span class='{run.status}'>{run.status}</span></h1>",
                f"<p>{escape(run.id)} {above}· experiment {escape(run.experiment)} · "
                f"created {run.created}{f' · ended {run.ended}' if run.ended else ''}</p>",
                self._error(run),
                self._children(run),
                self._logs(run),
                "</html>",
            ]
        )

    def _link(self, run: str, text: str) -> str:
        return f'<a href="{escape(self.address(run))}">{escape(text)}</a>'

    @staticmethod
    def _error(run: Run) -> str:
        message = ((run.details.get("error") or {}).get("error") or {}).get("message")
        warnings = [f"<p>{escape(text)}</p>" for text in run.details.get("warnings") or []]
        error = f"<h2>Error</h2><pre class='error'>{escape(message)}</pre>" if message else ""
        return error + (f"<h2>Warnings</h2>{''.join(warnings)}" if warnings else "")

    def _children(self, run: Run) -> str:
        rows = [
            f"<tr><td>{self._link(child.id, child.display)}"
            f"<td class='{child.status}'>{child.status}"
            for child in self._records.runs.children(run.id)
        ]
        return f"<h2>Children</h2><table>{''.join(rows)}</table>" if rows else ""

    def _logs(self, run: Run) -> str:
        root, parts = self._records.artifacts(run), list[str]()
        for path, blob in self._records.datastores.blobs_of(root):
            if str(path).split("/")[0] in LOGS:
                data = b"".join(blob.pieces())[-MOST_BYTES:]
                text = escape(data.decode(errors="replace"))
                parts.append(f"<h2>{escape(str(path))}</h2><pre>{text}</pre>")
        return "".join(parts) or "<p>There is no log yet.</p>"
