"""A whole probe: single features far out, response curves, and the nearest training rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinml.errors import ModelError
from twinml.probe import run as probing
from twinml.probe._neighbours import Neighbour, nearest_rows
from twinml.probe._perturbations import choose
from twinml.probe._response_curves import ResponseCurve, read_monotonic, sweep

if TYPE_CHECKING:
    import pandas as pd

    from twinml.probe.run import ProbeResult, Shift

__all__ = ["Reference", "WholeProbe", "probe", "reference_of"]


@dataclass(frozen=True)
class Reference:
    """Training rows and the OOD score of a model, ``None`` where it has none, and a remark."""

    rows: pd.DataFrame | None
    ood_score: Callable[[Sequence[Mapping[str, Any]]], Any] | None
    remark: str


def reference_of(directory: Path) -> Reference:
    """Return what is kept with the model in ``directory``."""
    from twinml.model import load_reference, ood

    try:
        rows, scorer = load_reference(directory), ood.load(directory)
    except ModelError as error:
        remark = f"{error.message}: no impossible pairs, OOD scores and neighbours."
        return Reference(None, None, remark)

    def ood_score(rows: Sequence[Mapping[str, Any]]) -> Any:
        names = [encoding.name for encoding in scorer.encodings]
        return scorer.score({name: [row[name] for row in rows] for name in names}, len(rows))

    remark = f"Compared with the {len(rows):,} training rows kept with the model."
    return Reference(rows, ood_score, remark)


@dataclass(frozen=True)
class WholeProbe:
    """The result: shifts, curves, and the training row nearest to each of the worst shifts."""

    result: ProbeResult
    responses: Sequence[ResponseCurve]
    neighbours: Sequence[tuple[Shift, Neighbour]]
    remarks: Sequence[str]

    @property
    def passes(self) -> bool:
        """Whether every answer was a probability or a reason, and declared directions hold."""
        counts = self.result.counts
        broken = any(one.violations for one in self.responses)
        return not (counts["failed"] or counts["broken"] or broken)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-able values."""
        return self.result.to_dict() | {
            "responses": [one.to_dict() for one in self.responses],
            "nearest": [
                {
                    "feature": shift.feature,
                    "probe": shift.probe,
                    "distance": one.distance,
                    "differs": list(one.differs),
                    "row": dict(one.row),
                }
                for shift, one in self.neighbours
            ],
        }

    def text(self, worst: int) -> str:
        """Return the result as text, with the ``worst`` probes."""
        lines = [self.result.text(worst), ""]
        lines += [
            f"{one.feature}: declared {one.declared}, {one.violations} of {self.result.n_base} "
            f"rows against it, largest step {one.worst:.4f}"
            for one in self.responses
            if one.declared
        ]
        strongest = ", ".join(f"{one.feature} {one.reach:.3f}" for one in self.responses[:5])
        lines.append(f"strongest in range (reach of the mean prediction): {strongest}")
        lines += [
            f"nearest training row to {shift.feature} {shift.probe}: distance {one.distance:.3f}"
            for shift, one in self.neighbours[:3]
        ]
        return "\n".join([*lines, *self.remarks])

    def write(self, out: Path) -> None:
        """Write a page with pictures (``.html``), or the heat map alone."""
        if out.suffix == ".html":
            from twinml.pages.result_page import write
            from twinml.probe._page import result_page

            write(result_page(self.result, self.responses, self.neighbours, self.remarks), out)
            return
        out.parent.mkdir(parents=True, exist_ok=True)
        self.result.picture(out)


def probe(
    score: Callable[[Sequence[Mapping[str, Any]]], Any],
    directory: Path,
    rows: Sequence[Mapping[str, Any]] | None,
    *,
    n_base: int,
    seed: int,
    threshold: float,
    worst: int,
    monotonic: Sequence[str],
) -> WholeProbe:
    """Change one feature at a time, sweep every feature, and look for training rows like that.

    Parameters
    ----------
    score
        From rows to probabilities, shape (n, k), or numbers, (n, 1).
    directory
        The model, whose contract says what is out of range.
    rows
        To change; ``None`` takes training rows, or without them the contract's samples.
    n_base, seed
        How many of them, chosen by this seed.
    threshold
        Of the decision, for two classes.
    worst
        Probes that neighbours are looked for.
    monotonic
        Declared directions, ``FEATURE:+`` or ``FEATURE:-``.
    """
    from twinml.model import load_contract

    contract = load_contract(directory)
    declared = read_monotonic(contract, monotonic)
    reference = reference_of(directory)
    if rows is None and reference.rows is not None:
        kept: Any = reference.rows.astype(object)
        rows = kept.where(reference.rows.notna(), None).to_dict("records")
    base = contract.samples if rows is None else rows
    result = probing.run(
        contract,
        score,
        base,
        n_base=n_base,
        seed=seed,
        threshold=threshold,
        reference=reference.rows,
        ood_score=reference.ood_score,
    )
    chosen = choose(contract, base, n_base, seed)
    responses = sweep(contract, score, chosen, monotonic=declared, threshold=threshold)
    shown = result.worst(worst)
    near = (
        nearest_rows(contract, reference.rows, [shift.example for shift in shown])
        if reference.rows is not None
        else []
    )
    neighbours = [(shift, one[0]) for shift, one in zip(shown, near, strict=False)]
    return WholeProbe(result, responses, neighbours, [reference.remark])
