"""Score a folder of tables with an MLflow model, as a no-code batch deployment does.

Runs as the step of a job, in the model's own environment. Each line of the result is
``row,prediction,file``, without a header, the rows of each file counted from 0.
"""

import argparse
import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd

READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": pd.read_csv,
    ".parquet": pd.read_parquet,
    ".json": pd.read_json,
}


def main() -> None:
    """Score what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--score", type=Path, required=True)
    parser.add_argument("--file", default="predictions.csv")
    parser.add_argument("--most-errors", type=int, default=-1)
    given = parser.parse_args()
    directory = next(path.parent for path in sorted(given.model.rglob("MLmodel")))
    model = mlflow.pyfunc.load_model(str(directory))
    files = [given.data] if given.data.is_file() else sorted(given.data.rglob("*"))
    tables = [path for path in files if path.is_file() and path.suffix.lower() in READERS]
    if not tables:
        raise SystemExit(f"there is no table in the input: {', '.join(READERS)}")
    given.score.mkdir(parents=True, exist_ok=True)
    errors = 0
    with (given.score / given.file).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for path in tables:
            try:
                answers: Any = model.predict(READERS[path.suffix.lower()](path))
            except Exception as error:
                errors += 1
                sys.stdout.write(f"{path.name}: {error}\n")
                if 0 <= given.most_errors < errors:
                    raise SystemExit(f"{errors} files failed, {given.most_errors} may") from error
                continue
            rows = answers.to_numpy().tolist() if hasattr(answers, "to_numpy") else list(answers)
            for i, answer in enumerate(rows):
                cell = answer[0] if isinstance(answer, list) and len(answer) == 1 else answer
                writer.writerow([i, cell, path.name])
            sys.stdout.write(f"{path.name}: {len(rows)} rows\n")


main()
