"""Out-of-distribution rows: how a model's probabilities move when inputs leave what it knew.

Each probe changes one feature of some real rows (far out of the training range, null, an
unseen category, …) and compares the answers with those for the rows as they were::

    base rows ──▶ probabilities ─────────────────────────┐
        └─ one feature changed ──▶ probabilities ──▶ difference, label flips, not numbers
                               └─▶ or a refusal (good: it says why) or a failure (bad)

The contract says what is out of range; a scoring function is all that is needed, so the same
probes go to a pipeline in memory and to a deployed endpoint.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from twinml.contract import Contract
from twinml.errors import EndpointError, ModelError, PayloadError, TwinmlError, UsageError
from twinml.probe._perturbations import (
    PROBES,
    WHOLE_ROW,
    Attempt,
    Row,
    choose,
    perturbations,
    short,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PROBES", "ProbeResult", "Shift", "run"]

Score = Callable[[list[dict[str, Any]]], list[list[float]]]
OodScore = Callable[[Sequence[Row]], NDArray[np.float64]]
Floats = NDArray[np.float64]

REQUEST_ROWS = 1000
# Answers that say "this input is not for me". Other statuses are no answer to the input.
REFUSALS = frozenset({400, 413, 415, 422})
SILENCE = frozenset({503, 504})
MOST_DRAWN = 40


@dataclass(frozen=True)
class Shift:
    """What one probe of one feature did.

    Attributes
    ----------
    feature, probe
        Which feature was changed how; ``(whole row)`` where more than one was.
    sent
        The value sent, in words.
    rows
        Base rows that the probe changed; rows that had the value already are left out.
    outside
        How many of the values sent lie outside what training saw; null counts as outside.
    outcome
        ``answered``, ``refused`` (a clear 4xx) or ``failed`` (a 5xx, a crash, a wrong reply).
    mean_change, max_change
        Of the probability, over rows: the largest absolute change of any class; of a number the
        absolute change over the range of the target. NaN without a usable answer.
    flips
        Rows whose predicted label changed.
    broken
        Rows whose probabilities are not finite, not in [0, 1] or do not sum to 1 within 1e-6, or
        whose number is not finite.
    message
        What a refusal or failure said.
    ood
        Mean out-of-distribution score of the rows sent, see ``twinml.model.ood``; NaN where
        the model has none.
    example
        One of the rows sent.
    """

    feature: str
    probe: str
    sent: str
    rows: int
    outside: int
    outcome: Literal["answered", "refused", "failed"]
    mean_change: float = math.nan
    max_change: float = math.nan
    flips: int = 0
    broken: int = 0
    message: str = ""
    ood: float = math.nan
    example: Row = field(default_factory=dict, repr=False)

    @property
    def severity(self) -> tuple[bool, bool, float, float]:
        """Sorts failures first, then broken probabilities, then by mean and largest change."""
        changes = (self.mean_change, self.max_change)
        mean, largest = (-1.0 if math.isnan(change) else change for change in changes)
        return self.outcome == "failed", self.broken > 0, mean, largest


@dataclass(frozen=True)
class ProbeResult:
    """The outcome of all probes.

    Attributes
    ----------
    name
        Of the contract.
    features
        In training order.
    n_base, seed, threshold
        Rows that were changed, the seed that chose them, and the decision threshold on the
        second of two classes.
    n_requests
        Calls of the scoring function.
    shifts
        One a feature and probe, in training order.
    change
        What changes are of, in a word or two.
    """

    name: str
    features: tuple[str, ...]
    n_base: int
    seed: int
    threshold: float
    n_requests: int
    shifts: tuple[Shift, ...]
    change: str = "|Δp|"

    @property
    def counts(self) -> dict[str, int]:
        """How many probes were answered, refused and failed; rows flipped and broken."""
        outcomes = Counter(shift.outcome for shift in self.shifts)
        return {
            "probes": len(self.shifts),
            "answered": outcomes["answered"],
            "refused": outcomes["refused"],
            "failed": outcomes["failed"],
            "rows": sum(shift.rows for shift in self.shifts),
            "flips": sum(shift.flips for shift in self.shifts),
            "broken": sum(shift.broken for shift in self.shifts),
        }

    def worst(self, n: int = 10) -> tuple[Shift, ...]:
        """Return the ``n`` worst: failures, then broken probabilities, then largest changes."""
        return tuple(sorted(self.shifts, key=lambda shift: shift.severity, reverse=True)[:n])

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-able values; a change that there is not is ``None``."""
        shape = asdict(self)
        shape["features"] = list(self.features)
        shape["shifts"] = [
            {
                key: None if isinstance(value, float) and math.isnan(value) else value
                for key, value in asdict(shift).items()
                if key != "example"
            }
            for shift in self.shifts
        ]
        return shape | {"counts": self.counts}

    def text(self, n: int = 10) -> str:
        """Return the counts and the ``n`` worst probes as a table."""
        counts = self.counts
        lines = [
            f"{counts['probes']} probes of {len(self.features)} features, {self.n_base} base rows, "
            f"{counts['rows']:,} rows in {self.n_requests} requests",
            f"answered {counts['answered']}, refused {counts['refused']}, "
            f"failed {counts['failed']}; labels flipped on {counts['flips']:,} rows, "
            f"answers broken on {counts['broken']:,}",
            "",
            f"{'feature':<20} {'probe':<16} {'sent':<24} {f'mean {self.change}':>9} "
            f"{f'max {self.change}':>9} "
            f"{'flips':>9} {'OOD':>6}",
        ]
        for shift in self.worst(n):
            start = f"{short(shift.feature, 20):<20} {shift.probe:<16} {short(shift.sent, 24):<24}"
            if shift.outcome == "answered":
                flips = f"{shift.flips}/{shift.rows}"
                odd = "" if math.isnan(shift.ood) else f"{shift.ood:>6.3f}"
                broken = f"  {shift.broken} broken" if shift.broken else ""
                lines.append(
                    f"{start} {shift.mean_change:>9.4f} {shift.max_change:>9.4f} {flips:>9} "
                    f"{odd}{broken}"
                )
            else:
                lines.append(f"{start} {shift.outcome}: {short(shift.message, 90)}")
        return "\n".join(lines)

    def picture(self, path: Path) -> Path:
        """Write a PNG heat map, feature by probe, of the mean absolute change."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.colors import LinearSegmentedColormap
        from matplotlib.figure import Figure
        from matplotlib.patches import Patch

        worst_first = list(dict.fromkeys(shift.feature for shift in self.worst(len(self.shifts))))
        kept = set(worst_first[:MOST_DRAWN])
        features = [name for name in (*self.features, WHOLE_ROW) if name in kept]
        probes = [name for name in PROBES if any(shift.probe == name for shift in self.shifts)]
        grid = np.full((len(features), len(probes)), np.nan)
        for shift in self.shifts:
            if shift.feature in kept:
                grid[features.index(shift.feature), probes.index(shift.probe)] = shift.mean_change
        top = max(0.01, float(np.nanmax(grid))) if np.isfinite(grid).any() else 0.01

        figure = Figure(
            figsize=(2.6 + 0.62 * len(probes), 2.2 + 0.3 * len(features)),
            dpi=120,
            layout="constrained",
        )
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        colours = LinearSegmentedColormap.from_list(
            "", ["#f6f8fa", "#b9d6ea", "#0067a5", "#003e66"]
        )
        image = axes.imshow(grid, cmap=colours, vmin=0, vmax=top, aspect="auto")
        for shift in self.shifts:
            if shift.feature not in kept:
                continue
            y, x = features.index(shift.feature), probes.index(shift.probe)
            fill, word = {"failed": ("#b42318", "failed"), "refused": ("#c9cdd2", "refused")}.get(
                shift.outcome, (None, f"{shift.mean_change:.2f}".removeprefix("0"))
            )
            if shift.broken:
                fill, word = "#b42318", "broken"
            if fill:
                axes.fill([x - 0.5, x + 0.5, x + 0.5, x - 0.5], [y - 0.5] * 2 + [y + 0.5] * 2, fill)
            dark = fill == "#b42318" or (not fill and shift.mean_change > 0.5 * top)
            ink = "#ffffff" if dark else "#1f2328"
            axes.text(x, y, word, ha="center", va="center", fontsize=6 if fill else 7.5, color=ink)
        axes.set_xticks(range(len(probes)), probes, rotation=40, ha="right", fontsize=8.5)
        axes.set_yticks(range(len(features)), [short(name, 28) for name in features], fontsize=8.5)
        axes.set_xticks(np.arange(len(probes)) - 0.5, minor=True)
        axes.set_yticks(np.arange(len(features)) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1.5)
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_visible(False)
        left_out = len(worst_first) - len(features)
        note = f" ({left_out} features with smaller changes left out)" if left_out > 0 else ""
        axes.set_title(
            f"How far predictions move when one feature leaves its range{note}",
            fontsize=10.5, fontweight="bold", loc="left",
        )  # fmt: skip
        figure.colorbar(image, ax=axes, label=f"mean {self.change}", shrink=0.8, pad=0.02)
        if any(shift.outcome != "answered" or shift.broken for shift in self.shifts):
            keys = [
                Patch(color="#c9cdd2", label="refused with a reason"),
                Patch(color="#b42318", label="failed, or no prediction"),
            ]
            figure.legend(
                handles=keys, loc="outside lower right", ncols=2, fontsize=8, frameon=False
            )
        figure.savefig(path)
        return path


def run(
    contract: Contract,
    score_proba: Score,
    rows: Sequence[Row],
    *,
    n_base: int = 20,
    seed: int = 0,
    threshold: float = 0.5,
    reference: pd.DataFrame | None = None,
    ood_score: OodScore | None = None,
) -> ProbeResult:
    """Probe a model.

    Parameters
    ----------
    contract
        Of the model: its columns, ranges and categories.
    score_proba
        Takes rows as dicts and returns their class probabilities in the contract's order, as
        ``Endpoint.score_proba``, or numbers, as ``Endpoint.numbers``.
    rows
        Real rows to change; further keys than the features are ignored.
    n_base
        How many of them to use.
    seed
        Of their choice.
    threshold
        Of the decision between two classes.
    reference
        Training rows; with them pairs of values are tried that never came together.
    ood_score
        Gives the out-of-distribution score of rows, shape (len(rows),).

    Raises
    ------
    DataError
        There are no rows, or one lacks a feature.
    EndpointError
        The unchanged rows are not answered, or the endpoint stopped answering during the probes.
    UsageError
        ``n_base`` is below 1, or ``threshold`` not between 0 and 1.
    """
    if n_base < 1:
        raise UsageError(f"n_base is {n_base}, expected at least 1")
    if not 0 < threshold < 1:
        raise UsageError(f"threshold is {threshold}, expected a number between 0 and 1")
    base = choose(contract, rows, n_base, seed)
    session = Session(contract, score_proba, base, threshold)
    attempts = list(perturbations(contract, base, reference))
    # Attempts of one kind stand together: a refusal then splits few requests.
    attempts.sort(key=lambda attempt: PROBES.index(attempt.probe))
    for together in in_requests(attempts):
        session.send(together)
    if ood_score is not None:
        by_kind = {(one.feature, one.probe, one.sent): one for one in attempts}
        session.shifts = [
            replace(
                shift,
                ood=float(np.mean(ood_score(by_kind[shift.feature, shift.probe, shift.sent].rows))),
            )
            for shift in session.shifts
        ]
    order = {name: position for position, name in enumerate((*contract.column_names, WHOLE_ROW))}
    session.shifts.sort(key=lambda shift: (order[shift.feature], PROBES.index(shift.probe)))
    return ProbeResult(
        name=contract.name,
        features=contract.column_names,
        n_base=len(base),
        seed=seed,
        threshold=threshold,
        n_requests=session.n_requests,
        shifts=tuple(session.shifts),
        change="|Δp|" if contract.classes else "|Δ| / range",
    )


def in_requests(attempts: Sequence[Attempt]) -> Iterator[list[Attempt]]:
    """Yield the attempts in requests of about ``REQUEST_ROWS`` rows, none of them split."""
    together: list[Attempt] = []
    for attempt in attempts:
        if together and sum(len(one.rows) for one in together) + len(attempt.rows) > REQUEST_ROWS:
            yield together
            together = []
        together.append(attempt)
    if together:
        yield together


class Session:
    """Sends attempts and measures what comes back.

    Parameters
    ----------
    contract, score_proba, threshold
        As in ``run``.
    base
        The unchanged rows; scored first.
    """

    def __init__(
        self,
        contract: Contract,
        score_proba: Score,
        base: Sequence[dict[str, Any]],
        threshold: float,
    ) -> None:
        self.n_classes = len(contract.classes)
        self.sound = sound if contract.classes else finite
        low, high = contract.target_range or (0.0, 1.0)
        self.unit = (high - low) or 1.0
        self.score_proba = score_proba
        self.base = base
        self.threshold = threshold
        self.n_requests = 0
        self.shifts: list[Shift] = []
        self.before = self.ask(base)
        if not np.all(self.sound(self.before)):
            raise ModelError(
                "the unchanged rows already give probabilities that are not finite or do not "
                "sum to 1"
                if contract.classes
                else "the unchanged rows already give numbers that are not finite",
                hint="Check the model on rows like those it was trained on.",
            )

    def ask(self, rows: Sequence[dict[str, Any]]) -> Floats:
        """Return the answers to ``rows``, shape (len(rows), n_classes or 1)."""
        self.n_requests += 1
        reply = self.score_proba([dict(row) for row in rows])
        try:
            answer = np.asarray(reply, dtype=np.float64)
        except (TypeError, ValueError):
            raise wrong("the reply is not a table of numbers") from None
        if answer.shape != (len(rows), self.n_classes or 1):
            raise wrong(
                f"the reply has shape {answer.shape}, expected {(len(rows), self.n_classes or 1)}"
            )
        return answer

    def send(self, together: Sequence[Attempt]) -> None:
        """Measure the attempts in one request; where that is not answered, in halves."""
        try:
            answer = self.ask([row for attempt in together for row in attempt.rows])
        except Exception as error:  # whatever a model raises is what its probe found
            if len(together) == 1:
                self.shifts.append(self.no_answer(together[0], error))
                return
            half = len(together) // 2
            self.send(together[:half])
            self.send(together[half:])
            return
        start = 0
        for attempt in together:
            part = answer[start : start + len(attempt.rows)]
            self.shifts.append(self.measure(attempt, part))
            start += len(attempt.rows)

    def measure(self, attempt: Attempt, after: Floats) -> Shift:
        """Compare the answers of changed and unchanged rows, shapes (n, n_classes)."""
        usable = self.sound(after)
        before = self.before[list(attempt.positions)]
        change = np.abs(after[usable] - before[usable]).max(axis=1) / self.unit
        flips = self.decide(after[usable]) != self.decide(before[usable])
        return attempt_shift(
            attempt,
            outcome="answered",
            mean_change=float(change.mean()) if len(change) else math.nan,
            max_change=float(change.max()) if len(change) else math.nan,
            flips=int(flips.sum()),
            broken=int((~usable).sum()),
        )

    def no_answer(self, attempt: Attempt, error: Exception) -> Shift:
        """Tell a refusal from a failure, and an endpoint that is gone from both."""
        status = error.status if isinstance(error, (EndpointError, PayloadError)) else 500
        if isinstance(error, EndpointError) and status in SILENCE:
            # Gone for good, or did it only fail at this input? The first ends the run.
            self.ask(self.base[:1])
        words = error.message if isinstance(error, TwinmlError) else str(error)
        if not isinstance(error, TwinmlError):
            words = f"{type(error).__name__}: {words}"
        refused = status in REFUSALS
        return attempt_shift(
            attempt, outcome="refused" if refused else "failed", message=short(words, 300)
        )

    def decide(self, probabilities: Floats) -> NDArray[np.int64]:
        """Return the predicted class indices, shape (n,)."""
        if self.n_classes == 2:
            return (probabilities[:, 1] >= self.threshold).astype(np.int64)
        return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)


def attempt_shift(attempt: Attempt, **outcome: Any) -> Shift:
    """Return the shift of an attempt."""
    return Shift(
        attempt.feature,
        attempt.probe,
        attempt.sent,
        len(attempt.rows),
        attempt.outside,
        **outcome,
        example=attempt.rows[0],
    )


def sound(probabilities: Floats) -> NDArray[np.bool_]:
    """Tell which rows are probabilities: finite, in [0, 1], sum 1 within 1e-6."""
    inside = np.all((probabilities >= 0) & (probabilities <= 1), axis=1)
    sums = np.where(inside[:, None], probabilities, 0).sum(axis=1)
    return np.asarray(np.abs(sums - 1) <= 1e-6)


def finite(numbers: Floats) -> NDArray[np.bool_]:
    """Tell which rows are finite numbers."""
    return np.asarray(np.isfinite(numbers).all(axis=1))


def wrong(message: str) -> EndpointError:
    """Return the error for a reply that is none."""
    return EndpointError(message, status=502)
