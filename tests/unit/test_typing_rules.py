"""One set of rules reads training files and requests: a row scores as it did in training."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

from twinml.batch._read import Source, types_of
from twinml.contract import Contract, infer_contract, model_frame, parse
from twinml.data import Dataset, load
from twinml.data.json_rows import records
from twinml.training._preprocessing import encoder

MARKERS = ["", "NA", "null", "None", "nan"]
KINDS = {
    "integers": ["1", "2", "-7", "0", " 12"],
    "nullable integers": ["1", "2", "40", *MARKERS],
    "numbers": ["1.5", "1e1", ".5", "3", "-2.", *MARKERS],
    "booleans": ["True", "false", "TRUE"],
    "nullable booleans": ["True", "False", *MARKERS],
    "text of booleans": ["True", "False", "maybe", ""],
    "codes": ["007", "1", "42", "1_000", ""],
    "digits of another script": ["１２", "３"],
    "text": ["a", "NA", "None", "x y", "é", ""],
    "text of numbers": ["1", "2.5", "x", "1.0"],
}
NAMES = ["plain", "line\nbreak", 'with "quotes"', "with, comma", " blank "]
ROWS = 50


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    """Return the cells of a file of several columns, header first; the last is the target."""
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=len(NAMES)))
    columns = [
        draw(st.lists(st.sampled_from(KINDS[kind]), min_size=ROWS, max_size=ROWS)) for kind in kinds
    ]
    labels = ["no", "yes"] * (ROWS // 2)
    # No column may be without any value, which would be left out.
    columns = [[*column[1:], KINDS[kind][0]] for column, kind in zip(columns, kinds, strict=True)]
    return [
        [*NAMES[: len(columns)], "y"],
        *map(list, zip(*columns, labels, strict=True)),
    ]


def written(table: list[list[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(table)
    return text.getvalue()


def probabilities(
    pipeline: Any, contract: Contract, body: str, kind: str, route: str = "score"
) -> Any:
    read = parse(contract, body.encode(), content_type=kind, route=route)  # type: ignore[arg-type]
    return pipeline.predict_proba(read.frame())


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(table=tables())
def test_every_row_of_a_file_scores_as_in_training(tmp_path: Path, table: list[list[str]]) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(written(table), encoding="utf-8")
    dataset = load(file, "y")
    contract = infer_contract(dataset.features, dataset.labels, name="rows")
    assert Contract.from_json(contract.to_json()) == contract
    learned = model_frame(dataset.features)
    pipeline = make_pipeline(encoder(learned), DecisionTreeClassifier(random_state=0))
    pipeline.fit(learned, dataset.labels)
    expected = pipeline.predict_proba(learned)

    def same(found: Any) -> None:
        np.testing.assert_array_equal(found, expected)

    features = dataset.features
    for body in (
        f'{{"data": {features.to_json(orient="records")}}}',
        f'{{"Inputs": {{"data": {features.to_json(orient="values")}}}}}',
        f'{{"input_data": {features.to_json(orient="split", index=False)}}}',
        json.dumps({"data": records(features)}),
    ):
        same(probabilities(pipeline, contract, body, "application/json"))
    for body in (
        f'{{"dataframe_split": {features.to_json(orient="split")}}}',
        f'{{"dataframe_records": {features.to_json(orient="records")}}}',
        f'{{"instances": {features.to_json(orient="records")}}}',
        json.dumps({"inputs": {name: list(features[name].astype(object).where(
            features[name].notna(), None)) for name in features}}),
    ):  # fmt: skip
        same(probabilities(pipeline, contract, body, "application/json", "invocations"))
    # The file itself, as a body; its cells as JSON's texts; and through the reader of batches.
    same(probabilities(pipeline, contract, file.read_text("utf-8"), "text/csv"))
    cells = [dict(zip(table[0], [cell or None for cell in row], strict=True)) for row in table[1:]]
    same(probabilities(pipeline, contract, json.dumps({"data": cells}), "application/json"))
    (chunk,) = Source(file, types_of(contract.columns)).chunks(ROWS)
    frame = chunk.to_pandas()[list(contract.column_names)]
    frame = frame.astype({c.name: "object" for c in contract.columns if c.type == "string"})
    same(pipeline.predict_proba(frame))


def bool_blank(tmp_path: Path) -> tuple[Dataset, Contract]:
    paid = ["True", "False", ""] * 20
    lines = [f"{20 + row},{paid[row]},{'yes' if row % 2 else 'no'}" for row in range(60)]
    file = tmp_path / "bool_blank.csv"
    file.write_text("\n".join(["age,paid,y", *lines]), encoding="utf-8")
    dataset = load(file, "y")
    return dataset, infer_contract(dataset.features, dataset.labels, name="bool_blank")


@pytest.mark.parametrize(
    ("sent", "stored"),
    [("True", 1.0), (True, 1.0), (1, 1.0), (False, 0.0), ("false", 0.0), (0, 0.0)],
)
def test_a_boolean_column_with_blanks_takes_booleans(
    tmp_path: Path, sent: Any, stored: float
) -> None:
    _, contract = bool_blank(tmp_path)
    column = contract.columns[1]
    assert (column.type, column.nullable, column.categories) == ("boolean", True, None)
    body = json.dumps({"data": [{"age": 41, "paid": sent}]}).encode()
    read = parse(contract, body, content_type="application/json", route="score")
    assert read.columns["paid"] == [stored]


@pytest.mark.parametrize("above", ["", "\n\n", "sep=;\n"])
def test_a_header_is_read_the_same_in_training_and_in_batches(tmp_path: Path, above: str) -> None:
    file = tmp_path / "rows.csv"
    rows = "".join(f'{n};"a\nb";{n % 2}\n' for n in range(60))
    file.write_text(f'{above}"line\nbreak";"say ""so""";y\n{rows}', encoding="utf-8", newline="")
    names = ["line\nbreak", 'say "so"', "y"]
    assert list(load(file, names[2]).frame.columns) == names
    source = Source(file, {names[0]: "long", names[1]: "string"})
    tables = list(source.chunks(25))
    assert [table.num_rows for table in tables] == [25, 25, 10]
    assert tables[0].column_names == names
    assert tables[2].column(names[0]).to_pylist() == list(range(50, 60))
    assert set(tables[1].column(names[1]).to_pylist()) == {"a\nb"}


def test_documents_hold_no_row_of_the_training_data(tmp_path: Path) -> None:
    from twinml import model
    from twinml.contract import example, example_csv, openapi

    rng = np.random.default_rng(0)
    n = 1_200
    frame = pd.DataFrame(
        {
            "money": rng.normal(50_000, 9_000, n).round(3),
            "id": rng.integers(10**12, 10**13, n),
            "note": [f"marker-{number}-secret" for number in range(n)],
            "kind": rng.choice(["a", "b"], n),
        }
    )
    labels = pd.Series(rng.choice(["no", "yes"], n), name="y")
    contract = infer_contract(frame, labels, name="marked")
    learned = model_frame(frame)
    pipeline = make_pipeline(encoder(learned), DecisionTreeClassifier(max_depth=2))
    pipeline.fit(learned, labels)
    folder = tmp_path / "model"
    model.save(pipeline, contract, folder)
    texts = {
        str(path.relative_to(folder)): path.read_text("utf-8")
        for path in folder.rglob("*")
        if path.suffix in (".json", ".yaml", ".yml", ".txt", ".csv") or path.name == "MLmodel"
    }
    assert {"contract.json", "swagger2.json", "swagger3.json", "MLmodel"} <= texts.keys()
    texts |= {
        version: json.dumps(openapi(contract, version=version)) for version in ("2", "3", "3.1")
    }
    texts |= {"data.json": json.dumps(example(contract, "data")), "csv": example_csv(contract)}
    # The ends of a range are part of the contract.
    known = {
        str(bound) for column in contract.columns for bound in (column.minimum, column.maximum)
    }
    markers = {*map(str, frame["money"]), *map(str, frame["id"])} - known
    for name, text in texts.items():
        assert "secret" not in text, name
        assert not [marker for marker in markers if marker in text], name
