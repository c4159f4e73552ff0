"""``twinml score --explain``: what each feature added, from the model directory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinml.cli._common import emit
from twinml.cli._deployed import model_directory
from twinml.cli._rows import Facts, rows_from
from twinml.errors import DataError, ModelError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from twinml.contract import Contract
    from twinml.explanation.members import Explanation

__all__ = ["explain_rows"]

MOST_SHOWN = 20


def explain_rows(
    platform_name: str,
    endpoint_name: str | None,
    deployment: str | None,
    url: str | None,
    model: str | None,
    data: str | None,
    sample: int | None,
    out: Path | None,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Explain the rows of a file, or samples of the contract, and print what was found.

    Raises
    ------
    UsageError
        Nothing tells the model, or the rows.
    ModelError
        The model cannot be explained.
    """
    from twinml.explanation.members import explain
    from twinml.model import digest, load_contract, load_predictor

    if (data is None) == (sample is None):
        raise UsageError("say what to explain, once", hint="Give --data FILE or --sample N.")
    with model_directory(platform_name, endpoint_name, deployment, url, model) as directory:
        contract = load_contract(directory)
        rows = _rows(contract, data, sample or 0)
        frame = _frame(contract, rows)
        predictor = load_predictor(directory, digest(directory))
        found = explain(predictor.pipeline, frame, background=_kept(directory, contract))
    if out is not None:
        _write(out, rows, found)
    if picture is not None:
        from twinml.explanation.figure import contributions

        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(contributions(found))
    told = [_line(found, row) for row in range(min(len(rows), MOST_SHOWN))]
    if len(rows) > MOST_SHOWN:
        told.append(f"… and {len(rows) - MOST_SHOWN:,} more: --out FILE, --json")
    files = [f"written: {file}" for file in (out, picture) if file is not None]
    text = "\n".join([f"contributions in log-odds; {found.covered()}", "", *told, *files])
    emit(found.to_dict() | {"file": out, "picture": picture}, as_json=as_json, text=text)


def _rows(contract: Contract, data: str | None, sample: int) -> Sequence[Mapping[str, Any]]:
    if data is None:
        if not contract.samples:
            raise UsageError("the contract has no sample rows", hint="Give --data FILE.")
        return [contract.samples[place % len(contract.samples)] for place in range(sample)]
    if data == "-" or Path(data).suffix == ".json":
        raise UsageError("rows to explain come as CSV or Parquet", hint="Give --data rows.csv.")
    text = frozenset(column.name for column in contract.columns if column.type == "string")
    return rows_from(Path(data), Facts(text_columns=text))


def _kept(directory: Path, contract: Contract) -> pd.DataFrame | None:
    """Return the features of the training rows that are kept with the model, if they are."""
    from twinml.model import load_reference

    try:
        return load_reference(directory)[list(contract.column_names)]
    except ModelError:
        return None


def _frame(contract: Contract, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Read the rows as a request is read."""
    from twinml.contract import parse
    from twinml.contract.dialects import RECORDS
    from twinml.endpoint import request_body

    body = request_body(rows, dialect=RECORDS.name)
    return parse(contract, body, content_type="application/json", route="score").frame()


def _line(found: Explanation, row: int) -> str:
    moved = "  ".join(f"{name} {value:+.3f}" for name, value in found.strongest(row))
    return (
        f"row {row}: P({found.classes[row]}) = {found.probability[row]:.4f}, score "
        f"{found.score[row]:+.3f} = base {found.base[row]:+.3f} and  {moved}"
    )


def _write(out: Path, rows: Sequence[Mapping[str, Any]], found: Explanation) -> None:
    import pandas as pd

    if not out.parent.is_dir():
        raise DataError(f"{out} cannot be written", hint=f"Make the folder '{out.parent}' first.")
    if out.suffix == ".json":
        out.write_text(json.dumps(found.to_dict(), ensure_ascii=False) + "\n", encoding="utf-8")
        return
    same = len(set(found.classes)) == 1
    added: dict[str, Any] = {} if same else {"explained_class": list(found.classes)}
    added[f"probability_{found.classes[0]}" if same else "probability"] = found.probability
    added |= {"score_log_odds": found.score, "contribution_(base)": found.base}
    for place, name in enumerate(found.features):
        added[f"contribution_{name}"] = found.contributions[:, place]
    table = pd.concat([pd.DataFrame(list(rows)), pd.DataFrame(added)], axis=1)
    table.to_csv(out, index=False, lineterminator="\n")
