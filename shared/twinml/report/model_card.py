"""The model card: what a model is for, how it did, where it errs, and where it comes from.

Written into the model's folder as Markdown and HTML, so that it goes where the model goes. It holds
figures and names of values, and no row of the data.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from twinml.pages.result_page import ResultPage, Section
from twinml.pages.result_page import write as write_page
from twinml.pages.tables import Cell, Table
from twinml.pages.wording import counted, listed, number, percent, quantity, sentence
from twinml.report._files import CARD, CARD_TEXT
from twinml.report._measures import rows_name

if TYPE_CHECKING:
    from twinml.data import Dataset
    from twinml.training.result import TrainingResult

__all__ = ["card", "markdown", "write"]

MOST_GROUPS = 8
MOST_CLASSES = 20


def write(
    result: TrainingResult, dataset: Dataset, directory: Path, *, digest: str | None = None
) -> Path:
    """Write both forms of the card into a folder and return the path of the page.

    Parameters
    ----------
    digest
        Of the model, where it is known.
    """
    page = card(result, dataset, digest=digest)
    (directory / CARD_TEXT).write_text(markdown(page), encoding="utf-8")
    return write_page(page, directory / CARD)


def card(result: TrainingResult, dataset: Dataset, *, digest: str | None = None) -> ResultPage:
    """Return the card of a model."""
    from twinml.report import _content as content
    from twinml.report._held_out import by_group, group_table, weak_groups
    from twinml.report._omissions import omissions

    groups = by_group(result, dataset)
    weak = weak_groups(result, groups)[:MOST_GROUPS]
    erring = group_table(result, weak)
    expectation = content.expectation(result, dataset)
    tables = [*content.parts(result)[:1], *([erring] if erring else [])]
    return ResultPage(
        result.contract.name,
        kind="Model card",
        verdict=expectation["figure"],
        reason=expectation["why"],
        sections=(
            Section("Intended use", _use(result)),
            Section("Data", _data(result, dataset), tables=_target(result, dataset)),
            Section("How it did", (_split(result),), tables=(content.estimate_table(result),)),
            Section("Where it errs", (content.weakness(result, groups),), tables=tuple(tables)),
            Section("Limits", _limits(result, dataset)),
            Section("What was left out", tuple(omissions(result, dataset)) or ("Nothing.",)),
            Section("Lineage", tables=(_lineage(result, dataset, digest),)),
        ),
    )


def _use(result: TrainingResult) -> tuple[str, ...]:
    contract = result.contract
    if len(contract.classes):
        classes = listed([str(each) for each in contract.classes])
        what = f"which class of {contract.target} a row is of: {classes}"
    else:
        what = f"the number {contract.target} of a row"
    decided = (
        f" “{contract.positive_class}” is named from a probability of "
        f"{number(result.threshold)} on."
        if result.threshold is not None
        else ""
    )
    return (
        f"The model says {what}, from {counted(len(contract.columns), 'column')}: "
        f"{listed(contract.column_names)}.{decided}",
        "It is meant for rows that come about as those did that it learned from. It says what goes "
        "together in them, not what causes what, and was not examined for decisions about people.",
    )


def _data(result: TrainingResult, dataset: Dataset) -> tuple[str, ...]:
    learned = (
        f"The model learned from {counted(len(result.trained_on), 'row')}"
        if result.trained_on is not None
        else f"The measured model learned from {counted(result.test.n_train, 'row')}"
    )
    lost = int(dataset.features.isna().to_numpy().sum())
    cells = max(dataset.n_rows * dataset.features.shape[1], 1)
    return (
        f"{dataset.name}: {counted(dataset.n_rows, 'row')}, "
        f"{counted(dataset.features.shape[1], 'column')}, target {dataset.target}; "
        f"{percent(lost / cells)} of the values are missing. {learned}.",
        sentence(dataset.order_note),
    )


def _target(result: TrainingResult, dataset: Dataset) -> tuple[Table, ...]:
    if not len(result.contract.classes):
        found = dataset.labels.describe()
        rows = [(name, quantity(float(found[name]))) for name in ("min", "50%", "mean", "max")]
        heads = ("", dataset.target)
    else:
        shares = dataset.labels.value_counts(normalize=True).head(MOST_CLASSES)
        rows = [(str(label), percent(float(share))) for label, share in shares.items()]
        heads = (dataset.target, "Share")
    return (
        Table(
            f"The target {dataset.target}",
            (Cell(heads[0]), Cell(heads[1], True)),
            tuple((Cell(name), Cell(value, True)) for name, value in rows),
        ),
    )


def _split(result: TrainingResult) -> str:
    kind, _, column = result.test.split.partition(":")
    how = {
        "random": "at random",
        "ordered": "as the last ones of the file",
        "column": f"as the last ones by “{column}”",
        "group": f"as all rows of some values of “{column}”, which no row to learn from has",
    }[kind]
    if result.test.out_of_fold:
        apart = f", with all rows of a value of “{column}” in one fold" if column else ""
        return (
            f"No rows were held out, as {result.test.n_test} are too few: each was judged by "
            f"models of the other folds{apart}. The figures are out of fold, of the recipe; the "
            "model has seen all rows."
        )
    text = f"{counted(result.test.n_test, 'row')} were held out {how}."
    if result.forward is not None and result.forward is not result.test:
        text += f" {counted(result.forward.n_test, 'row')}, the last ones, were held out again."
    if result.measured_apart:
        text += " The figures are of the recipe, fitted without them; the model has seen all rows."
    return text


def _limits(result: TrainingResult, dataset: Dataset) -> tuple[str, ...]:
    contract = result.contract
    found = [
        f"“{name}” is known only after the event: {reason.rstrip('.')}. A model in use cannot keep "
        "what the figures promise."
        for name, reason in dataset.leaks.items()
        if name in contract.column_names
    ]
    if result.forward is None:
        found.append(f"Nothing is known of later rows: {sentence(result.forward_note)}")
    found += [
        sentence(each.message)
        for each in dataset.findings
        if each.level == "warning" and each.kind != "leak"
    ]
    found.append(
        "Values beyond those that it learned from are answered too: the answer names them, and "
        "ood_score says how unusual a row is."
    )
    found.append(
        f"Intervals cover chance in the {rows_name(result.test)}, not a change of the world."
    )
    return tuple(found)


def _lineage(result: TrainingResult, dataset: Dataset, digest: str | None) -> Table:
    from twinml.report import _origin as origin

    best = result.best
    made = {
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "best candidate": f"{best.name} of {counted(len(result.leaderboard), 'candidate')}",
        **(
            {
                "members": ", ".join(
                    f"{name} {number(share)}" for name, share in best.weights.items()
                )
            }
            if best.weights
            else {}
        ),
        "chosen by": result.metric,
        "data file": dataset.source.name,
        "data digest (SHA-256)": dataset.digest,
        "contract digest": result.contract.digest,
        **({"model digest": digest} if digest else {}),
        "options": quantity(origin.shown_options(result.options)),
        **origin.versions(),
    }
    rows = tuple((Cell(name), Cell(str(value))) for name, value in made.items())
    return Table("Where the model comes from", (Cell("What"), Cell("Value")), rows, pairs=True)


def markdown(page: ResultPage) -> str:
    r"""Return a page of text and tables as Markdown.

    Examples
    --------
    >>> print(markdown(ResultPage("a|b", "Card", sections=(Section("Use", ("For *all*.",)),))))
    # Card: a|b
    <BLANKLINE>
    ## Use
    <BLANKLINE>
    For \*all\*.
    <BLANKLINE>
    """
    lines = [f"# {page.kind}: {_plain(page.title)}", ""]
    if page.verdict:
        lines += [f"**{_plain(page.verdict)}**", "", _plain(page.reason), ""]
    for section in page.sections:
        lines += [f"## {_plain(section.title)}", ""]
        for paragraph in section.paragraphs:
            lines += [_plain(paragraph), ""]
        for table in section.tables:
            lines += [*_table(table), ""]
    return "\n".join(lines)


def _table(table: Table) -> list[str]:
    def line(cells: tuple[Cell, ...]) -> str:
        return "| " + " | ".join(_plain(cell.text).replace("|", "\\|") for cell in cells) + " |"

    rule = "|" + "|".join("---:" if head.numeric else "---" for head in table.heads) + "|"
    return [_plain(table.caption), "", line(table.heads), rule, *map(line, table.rows)]


def _plain(text: str) -> str:
    """Return text on one line in which nothing is a mark of Markdown or of HTML."""
    line = " ".join(text.split())
    for sign in "\\`*_[]":
        line = line.replace(sign, f"\\{sign}")
    line = line.replace("&", "&amp;").replace("<", "&lt;")
    return f"\\{line}" if line[:1] in ("#", ">", "+", "-") else line
