"""A form made from a model's contract: it scores a row through the endpoint, and says why.

The row goes to the real endpoint with its key; explanation and out-of-distribution score come
from the deployed model's files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Blueprint, request
from markupsafe import Markup

from twinml.contract import Column, Contract
from twinml.endpoint import Endpoint, request_body
from twinml.errors import Detail, ModelError, TwinmlError
from twinml.pages.charts import bars
from twinml.pages.wording import edge, percent, quantity
from twinml.platform import busiest
from twinml_local.studio._sources import Sources

if TYPE_CHECKING:
    from twinml_local.server.state import DeploymentState

__all__ = ["pages"]

FIELD = "v-"
MOST_CHOICES = 60
STRONGEST = 10
USUAL, ODD = 0.95, 1.0


@dataclass(frozen=True)
class Field:
    """A field of the form.

    Attributes
    ----------
    kind
        ``choice``, ``number``, ``text`` or ``long``.
    choices
        To choose from; null is the empty one.
    hint
        What training had.
    problem
        What the endpoint says is wrong with the value.
    """

    name: str
    id: str
    kind: str
    value: str
    hint: str
    choices: Sequence[str] = ()
    nullable: bool = False
    problem: str = ""


@dataclass(frozen=True)
class Answer:
    """What an endpoint said of a row, and what can be said about that."""

    label: str
    shares: Sequence[tuple[str, float]] = ()
    interval: tuple[str, str] | None = None
    request_id: str = ""
    oddness: str = ""
    odd: bool = False
    explanation: Markup | str = ""
    covered: str = ""
    body: str = ""


def pages(sources: Sources, render: Callable[..., str]) -> Blueprint:
    """Return the page."""
    made = Blueprint("scoring", __name__)

    def shown(name: str, row: Mapping[str, str] | None, *, ask: bool) -> tuple[str, int]:
        info = sources.platform.endpoint_info(name)
        given = request.values.get("deployment", request.args.get("example", ""))
        deployment = given if given in info.deployments else busiest(info)
        state = sources.deployments(name)[deployment]
        contract = sources.contract(state)
        values = row if row is not None else sample_row(contract)
        answer, problem, status = None, "", 200
        details: Sequence[Detail] = ()
        if ask:
            key = sources.platform.keys(name).primary
            chosen = deployment if given else None
            try:
                with Endpoint(info.scoring_uri, key, retries=0, deployment=chosen) as endpoint:
                    answer = scored(sources, endpoint, state, contract, read_row(contract, values))
            except TwinmlError as error:
                problem, status = str(error), error.status if error.status < 500 else 502
                details = error.details
        page = render(
            "score.html.j2",
            title=f"{name}: test",
            section="endpoints",
            tab="test",
            info=info,
            deployment=given,
            contract=contract,
            fields=form_fields(contract, values, details),
            answer=answer,
            problem=problem,
        )
        return page, status

    @made.get("/endpoints/<name>/test")
    def form(name: str) -> tuple[str, int]:
        # The row of the form may be scored by a link: that changes nothing.
        return shown(name, None, ask="example" in request.args)

    @made.post("/endpoints/<name>/test")
    def score(name: str) -> tuple[str, int]:
        given = {
            key.removeprefix(FIELD): value
            for key, value in request.form.items()
            if key.startswith(FIELD)
        }
        return shown(name, given, ask=True)

    return made


def sample_row(contract: Contract) -> dict[str, str]:
    """Return the first sample of a contract as the form's fields hold it, by place."""
    sample = contract.samples[0] if contract.samples else {}
    return {
        str(place): _written(sample.get(column.name))
        for place, column in enumerate(contract.columns)
    }


def read_row(contract: Contract, values: Mapping[str, str]) -> dict[str, Any]:
    """Return a row as a client would send it, from the texts of the fields.

    What is empty is null. Numbers that are none stay text: the endpoint says what is wrong.
    """
    return {
        column.name: _read(column, values.get(str(place), ""))
        for place, column in enumerate(contract.columns)
    }


def form_fields(
    contract: Contract, values: Mapping[str, str], details: Sequence[Detail] = ()
) -> list[Field]:
    """Return the fields of a contract, holding ``values``."""
    problems = {
        detail.column: f"found {detail.value}, expected {detail.expected}" for detail in details
    }
    return [
        Field(
            name=column.name,
            id=f"{FIELD}{place}",
            kind=_kind(column),
            value=values.get(str(place), ""),
            hint=_hint(column),
            choices=_choices(column),
            nullable=column.nullable,
            problem=problems.get(column.name, ""),
        )
        for place, column in enumerate(contract.columns)
    ]


def scored(
    sources: Sources,
    endpoint: Endpoint,
    state: DeploymentState,
    contract: Contract,
    row: Mapping[str, Any],
) -> Answer:
    """Score a row through its endpoint, and say how odd it is and what moved the answer.

    Raises
    ------
    EndpointError
        The endpoint refused the row, or does not answer.
    """
    told = endpoint.answer([row])
    shares: list[tuple[str, float]] = []
    interval = None
    if contract.classes:
        given = endpoint.score_proba([row])[0]
        shares = sorted(
            ((str(label), share) for label, share in zip(contract.classes, given, strict=True)),
            key=lambda pair: -pair[1],
        )[:12]
    elif contract.intervals is not None:
        low, high = endpoint.answer([row], method="predict_interval").predictions[0]
        interval = quantity(float(low)), quantity(float(high))
    label = told.predictions[0]
    oddness, odd = _oddness(sources, state, contract, row)
    explanation, covered = _explained(sources, state, row)
    return Answer(
        label=quantity(label) if isinstance(label, float) else str(label),
        shares=shares,
        interval=interval,
        request_id=told.request_id or "",
        oddness=oddness,
        odd=odd,
        explanation=explanation,
        covered=covered,
        body=json.dumps(json.loads(request_body([row])), indent=2, ensure_ascii=False),
    )


def hint_of(score: float) -> tuple[str, bool]:
    """Return what an out-of-distribution score says, and whether it is a warning.

    Examples
    --------
    >>> hint_of(0.5)[1], hint_of(0.95)[1], hint_of(0.951)[1], hint_of(1.0)[1]
    (False, False, True, True)
    """
    if score >= ODD:
        return "A value of this row was never seen in training: expect less of the answer.", True
    if score > USUAL:
        return (
            f"Only {percent(1 - score)} of the training rows are this odd: "
            "expect less of the answer.",
            True,
        )
    return f"The row is like those of training (odder than {percent(score, 0)} of them).", False


def _oddness(
    sources: Sources, state: DeploymentState, contract: Contract, row: Mapping[str, Any]
) -> tuple[str, bool]:
    from twinml.contract import parse
    from twinml.contract.dialects import RECORDS
    from twinml.model.ood import load

    try:
        scorer = sources.kept(("ood", state.digest), lambda: load(Path(state.directory)))
        body = request_body([row], dialect=RECORDS.name)
        asked = parse(contract, body, content_type="application/json", route="score")
        return hint_of(float(scorer.score(asked.columns, 1)[0]))
    except TwinmlError:
        return "", False


def _explained(
    sources: Sources, state: DeploymentState, row: Mapping[str, Any]
) -> tuple[Markup | str, str]:
    """Return the chart of what moved the score, and what it covers; in words why not."""
    from twinml.explanation.members import explain
    from twinml.model import LoadedModel, load_reference

    directory = Path(state.directory)
    try:
        model = sources.kept(("model", state.digest), lambda: LoadedModel.open(directory))
        try:
            background = sources.kept(
                ("reference", state.digest),
                lambda: load_reference(directory)[list(model.contract.column_names)],
            )
        except ModelError:
            background = None
        found = explain(model.predictor.pipeline, model.frame([row]), background=background)
    except (TwinmlError, AttributeError) as error:
        return "", f"It cannot be explained: {error}"
    pairs = sorted(
        zip(found.features, found.contributions[0].tolist(), strict=True),
        key=lambda pair: -abs(pair[1]),
    )[:STRONGEST]
    subject = f"of {found.classes[0]}" if found.classes else "of the prediction"
    chart = bars(
        {f"{name} = {_written(row.get(name)) or 'null'}": value for name, value in pairs},
        title=f"What moved the score {subject}, in {found.unit}",
        text=lambda value: f"{value:+.3f}".replace("-", "−"),
    )
    return chart, f"In {found.unit} {subject}; {found.covered()}."


def _kind(column: Column) -> str:
    if column.type == "boolean" or (
        column.categories is not None and len(column.categories) <= MOST_CHOICES
    ):
        return "choice"
    if column.type == "text":
        return "long"
    return "number" if column.type in ("long", "double") else "text"


def _choices(column: Column) -> tuple[str, ...]:
    if column.type == "boolean":
        return ("true", "false")
    return tuple(column.categories or ()) if _kind(column) == "choice" else ()


def _hint(column: Column) -> str:
    if column.type == "datetime":
        return "a date or time, ISO 8601"
    if column.minimum is not None and column.maximum is not None:
        return f"{edge(float(column.minimum))} to {edge(float(column.maximum))} in training"
    if column.type == "text":
        return "free text"
    return "" if column.categories is None else f"{len(column.categories):,} values in training"


def _read(column: Column, text: str) -> Any:
    if text == "":
        return None
    if column.type == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if column.type in ("long", "double"):
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
    return text


def _written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
