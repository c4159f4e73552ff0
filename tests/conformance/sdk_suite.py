"""Run the Azure SDK's own end-to-end tests against the emulator: ``make conformance-sdk SDK=DIR``.

``SDK`` is the unpacked source archive of azure-ai-ml; the YAML files of its tests
(``tests/test_configs``) are in the SDK's repository only and have to be copied into it. It is
read, and never changed. Each group (a folder of ``tests``) runs in a process of its own; results
are in ``build/conformance-sdk``: a line of JSON a test, and the table as Markdown.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
from pathlib import Path

from azureml_emulator.environments.venvs import Requirements, VenvCache
from tests.conformance.sdk_outcomes import counts, markdown
from tests.conformance.stand import ROOT, emulator, run
from tests.conformance.table import rows_of

# What the tests need besides the SDK.
PACKAGES = (
    "azure-identity", "azure-mgmt-resource", "azureml-mlflow", "mlflow", "pandas", "mock", "pytest",
    "pytest-mock", "python-dotenv", "marshmallow<4",
)  # fmt: skip
_KEY = "dGhpcyBpcyBmYWtlIGtleQ=="


def main() -> None:
    """Run the groups that were asked for, and write the table."""
    parser = argparse.ArgumentParser(prog="make conformance-sdk", description=__doc__)
    parser.add_argument("sdk", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "conformance-sdk")
    parser.add_argument("--groups", default="", help="folders of tests, with commas; otherwise all")
    parser.add_argument("--only", default="", help="pytest's -k")
    parser.add_argument(
        "--mirror", action="append", default=[], help="URL=FOLDER of the tests' public data"
    )
    asked = parser.parse_args()
    version = _version(asked.sdk)
    if version is None:
        parser.error(f"SDK is '{asked.sdk}', which has no azure/ai/ml/_version.py and no tests.")
    out: Path = asked.out.resolve()
    rows = out / "tests.jsonl"
    copy = out / "azure-ai-ml"
    out.mkdir(parents=True, exist_ok=True)
    for left in (copy, out / "emulator"):
        shutil.rmtree(left, ignore_errors=True)
    rows.unlink(missing_ok=True)
    shutil.copytree(asked.sdk / "tests", copy / "tests", symlinks=True)
    # Or pytest would take the settings of whatever repository the folder is in.
    (copy / "pytest.ini").write_text("[pytest]\n")
    wanted = Requirements((f"azure-ai-ml=={version}", *PACKAGES))
    python = VenvCache().get(wanted, log=print).python
    groups = asked.groups.split(",") if asked.groups else _groups(copy)
    options = ["--curated", "own", "--automl-seconds", "20"]
    for mirror in asked.mirror:
        options += ["--mirror", mirror]
    with emulator(out / "emulator", *options) as environment:
        run(python, "sdk_workspace", [copy / "tests"], environment)
        for group in groups:
            _run_group(python, group, asked.only, copy, rows, environment)
            print(f"{group}: {counts(rows_of(rows)).get(group, 'no tests')}", flush=True)
    table = markdown(rows_of(rows))
    (out / "tests.md").write_text(table)
    print(table)


def _version(sdk: Path) -> str | None:
    path = sdk / "azure" / "ai" / "ml" / "_version.py"
    if not path.is_file() or not (sdk / "tests").is_dir():
        return None
    found = re.search(r'VERSION\s*=\s*"([^"]+)"', path.read_text())
    return found[1] if found else None


def _groups(copy: Path) -> list[str]:
    return sorted(path.parent.name for path in (copy / "tests").glob("*/e2etests"))


def _run_group(
    python: Path, group: str, only: str, copy: Path, rows: Path, environment: dict[str, str]
) -> None:
    path = os.pathsep.join([str(ROOT), str(copy / "tests")])
    variables = {
        **environment,
        "PYTHONPATH": path,
        "SDK_TESTS_ROWS": str(rows),
        "AZURE_TEST_RUN_LIVE": "true",
        "AZURE_SKIP_LIVE_RECORDING": "true",
        "ML_TENANT_ID": environment["AZURE_TENANT_ID"],
        "ML_CLIENT_ID": environment["AZURE_CLIENT_ID"],
        "ML_CLIENT_SECRET": environment["AZURE_CLIENT_SECRET"],
        "ML_SUBSCRIPTION_ID": environment["AZUREML_ARM_SUBSCRIPTION"],
        "ML_RESOURCE_GROUP": environment["AZUREML_ARM_RESOURCEGROUP"],
        "ML_WORKSPACE_NAME": environment["AZUREML_ARM_WORKSPACE_NAME"],
        "ML_FEATURE_STORE_NAME": environment["AZUREML_ARM_WORKSPACE_NAME"],
        "ML_TEST_STORAGE_ACCOUNT_NAME": "teststorageaccount",
        "ML_TEST_STORAGE_ACCOUNT_PRIMARY_KEY": _KEY,
        "ML_TEST_STORAGE_ACCOUNT_SECONDARY_KEY": _KEY,
    }
    words = [
        python, "-m", "pytest", "-p", "tests.conformance.sdk_plugin", "-p", "no:cacheprovider",
        "-W", "ignore", "-q", "--tb=short", "--show-capture=no", f"tests/{group}/e2etests",
    ]  # fmt: skip
    if only:
        words += ["-k", only]
    with (rows.parent / f"{group}.txt").open("w") as log:
        subprocess.run(words, cwd=copy, env=variables, stdout=log, stderr=log, check=False)


if __name__ == "__main__":
    main()
