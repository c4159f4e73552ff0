"""``twinml swagger``, as it is typed."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from click.testing import CliRunner
from openapi_spec_validator import validate

from twinml.cli import main
from twinml.contract import Column, Contract, openapi

CONTRACT = Contract(
    name="bank",
    target="y",
    task="binary",
    classes=("no", "yes"),
    n_rows=2,
    columns=(Column("age", "long", False, None, 18, 95),),
    samples=({"age": 41},),
)


@pytest.fixture
def model_dir(tmp_path):
    (tmp_path / "contract.json").write_text(CONTRACT.to_json(), encoding="utf-8")
    return str(tmp_path)


@pytest.fixture
def endpoint():
    """A server that answers its document to the right key; yields its URL and what it saw."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.path)
            allowed = self.headers.get("Authorization") == "Bearer the-key"
            version = self.path.partition("?version=")[2]
            body = json.dumps(openapi(CONTRACT, version=version) if allowed else {"message": "no"})
            self.send_response(200 if allowed else 401)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/score", seen
        server.shutdown()
        thread.join()


def run(*arguments, **environment):
    return CliRunner().invoke(main, ["swagger", *arguments], env=environment)


@pytest.mark.parametrize("version", ["2", "3", "3.1"])
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_the_document_of_a_model_directory_is_printed(model_dir, version, flags):
    done = run("--model-dir", model_dir, "--version", version, *flags)
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found == openapi(CONTRACT, version=version)
    validate(found)


def test_openapi_3_is_the_default(model_dir):
    assert json.loads(run("--model-dir", model_dir).stdout)["openapi"] == "3.0.3"


def test_the_document_of_an_endpoint_is_fetched(endpoint):
    url, seen = endpoint
    done = run("--url", url, "--version", "2", TWINML_KEY="the-key")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == openapi(CONTRACT, version="2")
    assert seen == ["/swagger.json?version=2"]


def test_a_wrong_key_is_one_line_and_never_shown(endpoint):
    done = run("--url", endpoint[0], TWINML_KEY="another-key")
    assert done.exit_code == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "401" in done.stderr
    assert "another-key" not in done.output


def test_a_directory_without_a_contract_is_one_line(tmp_path):
    done = run("--model-dir", str(tmp_path))
    assert done.exit_code == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "there is no contract.json in" in done.stderr


def test_a_contract_of_a_newer_version_is_told(tmp_path):
    newer = CONTRACT.to_dict() | {"format_version": 99}
    (tmp_path / "contract.json").write_text(json.dumps(newer))
    done = run("--model-dir", str(tmp_path), "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["error_code"] == "INVALID_MODEL"


def test_one_source_is_asked_for(model_dir):
    done = run("--model-dir", model_dir, "--url", "http://127.0.0.1:9/score")
    assert done.exit_code == 1
    assert "Give one of them" in done.stderr
    assert "there is no endpoint" in run().stderr  # the only one of this machine is meant
    assert "go together" in run("--data", "x.csv").stderr
