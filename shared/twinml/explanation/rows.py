"""Rows of a file, or samples of the contract, explained by a model directory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinml.errors import DataError, ModelError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from twinml.explanation.members import Explanation
    from twinml.model import LoadedModel

__all__ = ["explain_rows", "text", "write"]

Rows = Sequence[Mapping[str, Any]]
MOST_SHOWN = 20


def explain_rows(directory: Path, data: str | None, sample: int) -> tuple[Explanation, Rows]:
    """Explain rows with the model in ``directory``; return the rows as well.

    Parameters
    ----------
    data
        A CSV or Parquet file; ``None`` takes ``sample`` samples of the contract.

    Raises
    ------
    UsageError
        There are no such rows.
    ModelError
        The model cannot be explained.
    """
    from twinml.explanation.members import explain
    from twinml.model import LoadedModel, load_contract

    load_contract(directory).check_judged("score --explain")
    model = LoadedModel.open(directory)
    rows = _rows(model, data, sample)
    found = explain(model.predictor.pipeline, model.frame(rows), background=_kept(directory, model))
    return found, rows


def text(found: Explanation, n_rows: int) -> str:
    """Return the contributions of the first rows as text."""
    told = [_line(found, row) for row in range(min(n_rows, MOST_SHOWN))]
    if n_rows > MOST_SHOWN:
        told.append(f"… and {n_rows - MOST_SHOWN:,} more: --out FILE, --json")
    return "\n".join([f"contributions in {found.unit}; {found.covered()}", "", *told])


def _rows(model: LoadedModel, data: str | None, sample: int) -> Rows:
    contract = model.contract
    if data is None:
        if not contract.samples:
            raise UsageError("the contract has no sample rows", hint="Give --data FILE.")
        return [contract.samples[place % len(contract.samples)] for place in range(sample)]
    if data == "-" or Path(data).suffix == ".json":
        raise UsageError("rows to explain come as CSV or Parquet", hint="Give --data rows.csv.")
    from twinml.data import read_records

    texts = [column.name for column in contract.columns if column.mlflow_type == "string"]
    return read_records(Path(data), text=texts)


def _kept(directory: Path, model: LoadedModel) -> pd.DataFrame | None:
    """Return the features of the training rows that are kept with the model, if they are."""
    from twinml.model import load_reference

    try:
        return load_reference(directory)[list(model.contract.column_names)]
    except ModelError:
        return None


def _line(found: Explanation, row: int) -> str:
    moved = "  ".join(f"{name} {value:+.3f}" for name, value in found.strongest(row))
    return (
        f"row {row}: {found.told(row)}, score "
        f"{found.score[row]:+.3f} = base {found.base[row]:+.3f} and  {moved}"
    )


def write(out: Path, rows: Rows, found: Explanation, *, safe: bool = False) -> None:
    """Write rows and contributions as CSV, or all that was found as JSON.

    Parameters
    ----------
    safe
        Whether text that a spreadsheet would take for a formula is marked, in CSV.

    Raises
    ------
    DataError
        There is no such folder.
    """
    import pandas as pd

    from twinml.data.safe_csv import safe_frame

    if not out.parent.is_dir():
        raise DataError(f"{out} cannot be written", hint=f"Make the folder '{out.parent}' first.")
    if out.suffix == ".json":
        out.write_text(json.dumps(found.to_dict(), ensure_ascii=False) + "\n", encoding="utf-8")
        return
    same = len(set(found.classes)) == 1
    added: dict[str, Any] = {} if same else {"explained_class": list(found.classes)}
    if not found.classes:
        added = {"prediction": found.probability}
    else:
        added[f"probability_{found.classes[0]}" if same else "probability"] = found.probability
    score = "score_log_odds" if found.classes else "score"
    added |= {score: found.score, "contribution_(base)": found.base}
    for place, name in enumerate(found.features):
        added[f"contribution_{name}"] = found.contributions[:, place]
    table = pd.concat([pd.DataFrame(list(rows)), pd.DataFrame(added)], axis=1)
    if safe:
        table = safe_frame(table)
    table.to_csv(out, index=False, lineterminator="\n")
