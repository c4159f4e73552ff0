"""schemathesis against the running endpoint, by its own OpenAPI 3.1 document, with all checks."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from twinml import model
from twinml.platform import EndpointInfo
from twinml_local import endpoints

pytestmark = pytest.mark.e2e

HERE = Path(__file__).parent


@pytest.fixture
def deployed(
    own_home: Path, ensemble_directory: Path, compiled_forms: Path
) -> Iterator[EndpointInfo]:
    own_home.mkdir()
    (own_home / "compiled").symlink_to(compiled_forms)
    yield endpoints.deploy(
        "bank-test",
        "blue",
        directory=ensemble_directory,
        model="m",
        version="1",
        digest=model.digest(ensemble_directory),
    )
    endpoints.stop()


def test_the_endpoint_keeps_its_document(deployed: EndpointInfo, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("schemathesis")
    assert program.exists() or shutil.which("schemathesis"), "install the development packages"
    result = subprocess.run(
        [
            str(program),
            *("--config-file", str(HERE / "schemathesis.toml")),
            "run",
            f"{deployed.swagger_uri}?version=3.1",
            *("--header", f"Authorization: Bearer {endpoints.keys('bank-test').primary}"),
            *("--max-examples", "40", "--seed", "1", "--request-timeout", "60"),
            *("--continue-on-failure", "--generation-database", "none", "--no-color"),
        ],
        cwd=tmp_path,
        env=os.environ | {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    assert "Tested: 9" in result.stdout
