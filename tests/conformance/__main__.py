"""Measure the emulator with Azure ML's public samples: ``make conformance SAMPLES=DIR``.

``SAMPLES`` is a checkout of github.com/Azure/azureml-examples; it is read, and never changed.
Results are in ``build/conformance``: a line of JSON a sample, the table as Markdown and JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from tests.conformance.samples import found
from tests.conformance.stand import ROOT, emulator, run
from tests.conformance.table import markdown, rows_of, summary

# Nothing is deployed: what is measured is whether it is accepted.
_NO_DEPLOYMENTS = "PUT */onlineEndpoints/*/deployments/* operation=3600 always"


def main() -> None:
    """Run the stages that were asked for, and write the table."""
    parser = argparse.ArgumentParser(prog="make conformance", description=__doc__)
    parser.add_argument("samples", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "conformance")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="with the SDK")
    parser.add_argument("--stages", default="submit", help="of submit, jobs, notebooks")
    parser.add_argument("--only", default="", help="samples whose path holds this text")
    parser.add_argument("--kinds", default="", help="kinds of samples, with commas")
    asked = parser.parse_args()
    if not (asked.samples / "cli").is_dir():
        parser.error(f"SAMPLES is '{asked.samples}', which has no folder 'cli': name a checkout.")
    asked.out.mkdir(parents=True, exist_ok=True)
    for stage in asked.stages.split(","):
        {"submit": _submit}[stage](asked)
    rows = {stage: rows_of(asked.out / f"{stage}.jsonl") for stage in ("submit",)}
    (asked.out / "coverage.json").write_text(json.dumps(summary(rows["submit"]), indent=2) + "\n")
    table = markdown(rows["submit"])
    (asked.out / "coverage.md").write_text(table)
    print(table)


def _submit(asked: argparse.Namespace) -> None:
    kinds = set(filter(None, asked.kinds.split(",")))
    samples = [
        sample
        for sample in found(asked.samples)
        if asked.only in sample.path and (not kinds or sample.kind in kinds)
    ]
    copy = asked.out / "samples"
    if not copy.exists():
        shutil.copytree(asked.samples, copy, ignore=shutil.ignore_patterns(".git"))
    items, out = asked.out / "items.json", asked.out / "submit.jsonl"
    items.write_text(json.dumps([(sample.path, sample.kind) for sample in samples]))
    out.unlink(missing_ok=True)
    shutil.rmtree(asked.out / "submit", ignore_errors=True)
    options = ("--workers", "1", "--curated", "own", "--fault", _NO_DEPLOYMENTS)
    with emulator(asked.out / "submit", *options) as environment:
        run(asked.python, "submit", [copy, items, out], environment)


if __name__ == "__main__":
    main()
