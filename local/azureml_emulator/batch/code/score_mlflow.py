"""Score a folder of tables with an MLflow model, as a no-code batch deployment does.

Runs as the step of a job, in the model's own environment (Python 3.8 or newer). Columns are read
as the types of the model's signature. Each line of the result is ``row,prediction,file``,
without a header, the rows of each file counted from 0. If every file fails, the job does.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd

SUFFIXES = (".csv", ".parquet", ".json")
# MLflow's names of types, and pandas' for the values of such a column.
WHOLE: dict[str, Any] = {"integer": "int32", "long": "int64"}
REAL: dict[str, Any] = {"float": "float32", "double": "float64"}


def types_of(model: Any) -> dict[str, str]:
    """Return the types of the named columns of a model's signature, by MLflow's names."""
    schema = model.metadata.get_input_schema()
    if schema is None or schema.is_tensor_spec():
        return {}
    return {str(spec.name): getattr(spec.type, "name", "") for spec in schema.inputs if spec.name}


def read(path: Path, types: dict[str, str]) -> pd.DataFrame:
    """Read a table, its columns as ``types`` say."""
    texts: Any = {name: str for name, kind in types.items() if kind == "string"}
    if path.suffix.lower() == ".csv":
        table = pd.read_csv(path, dtype=texts)
    elif path.suffix.lower() == ".parquet":
        table = pd.read_parquet(path)
    else:
        # What looks like a date stays a text, unless the signature says otherwise.
        table = pd.read_json(path, dtype=texts or None, convert_dates=False)
    for name, kind in types.items():
        if name not in table:
            continue
        if kind in REAL:
            table[name] = table[name].astype(REAL[kind])
        elif kind in WHOLE and not table[name].isna().any() and (table[name] % 1 == 0).all():
            table[name] = table[name].astype(WHOLE[kind])
        elif kind == "datetime":
            table[name] = pd.to_datetime(table[name])
    return table


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
    types = types_of(model)
    files = [given.data] if given.data.is_file() else sorted(given.data.rglob("*"))
    tables = [path for path in files if path.is_file() and path.suffix.lower() in SUFFIXES]
    if not tables:
        raise SystemExit(f"there is no table in the input: {', '.join(SUFFIXES)}")
    given.score.mkdir(parents=True, exist_ok=True)
    errors = 0
    with (given.score / given.file).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for path in tables:
            try:
                answers: Any = model.predict(read(path, types))
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
    if errors == len(tables):
        raise SystemExit(f"all {errors} files failed: nothing was scored")


if __name__ == "__main__":
    main()
