"""Runs the loop: rows to the endpoint, then their labels, drift, training, promotion."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twinml import drift
from twinml.abtest import offline
from twinml.abtest.predictions import compare_predictions
from twinml.contract import model_frame
from twinml.data.json_rows import records
from twinml.drift.estimated import Estimated, Told, estimate, roc_auc, told_by
from twinml.endpoint import Endpoint
from twinml.errors import DataError, NotFound, UsageError
from twinml.platform import endpoint_name
from twinml.registry import runs
from twinml.registry.promotion import promote
from twinml.report import held_out_rows
from twinml.workflow.replay._history import Decision, Entry, Foretold, History, scores
from twinml.workflow.replay._periods import Period
from twinml.workflow.replay._training import Served, Trainer

if TYPE_CHECKING:
    import pandas as pd

    from twinml.data import Dataset
    from twinml.platform import Platform
    from twinml.registry.tracking import Tracking
    from twinml.training import TrainingOptions

__all__ = ["Replay", "ReplayOptions", "ReplayWatcher"]

Floats = NDArray[np.float64]
Labels = NDArray[Any]

FIRST = "first"
CHUNK_ROWS = 2000
# What comes in one request gets its answers from one deployment: short requests, so that the
# traffic is shared out as it was set.
CALL_ROWS = 10


@dataclass(frozen=True)
class ReplayOptions:
    """How a replay is run.

    Attributes
    ----------
    start
        Periods that the first model learns from.
    window
        Rows, the newest that have labels, that a challenger learns from; 0 means all.
    share
        Per cent of the traffic that a challenger gets.
    worse
        A period counts as badly predicted when its log loss, less two standard errors, is more
        than this many times the one that the champion was measured with.
    pause
        Periods after a training in which there is no other one: what it came to is not known
        before it has been on trial.
    ignored
        Features that are left out of the drift report because they change with time by their
        nature, such as the month.
    """

    start: int = 3
    window: int = 5000
    share: int = 10
    worse: float = 1.1
    pause: int = 0
    ignored: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.start < 1:
            raise UsageError(f"start is {self.start}", hint="Learn from at least 1 period.")
        if self.window < 0:
            raise UsageError(f"window is {self.window}", hint="Give a number of rows; 0 for all.")
        if not 1 <= self.share <= 50:
            raise UsageError(f"share is {self.share} per cent", hint="Give 1 to 50.")
        if self.pause < 0:
            raise UsageError(f"pause is {self.pause}", hint="Give a number of periods, or 0.")
        if not self.worse >= 1:
            raise UsageError(f"worse is {self.worse}", hint="Give at least 1, such as 1.1.")


class ReplayWatcher:
    """Receives the progress of a replay; override the methods of interest."""

    def says(self, text: str) -> None:
        """Receive a sentence about the current action."""

    def ended(self, entry: Entry) -> None:
        """Receive the results of a period."""


class Replay:
    """The loop on one platform, over periods in time order.

    Parameters
    ----------
    platform, tracking
        Where models are served and recorded.
    dataset
        Rows in time order.
    periods
        Of ``dataset``, all its rows.
    training
        Options of every training; each holds out rows of its own window at random.

    Raises
    ------
    DataError
        There are too few periods.
    """

    def __init__(
        self,
        platform: Platform,
        tracking: Tracking,
        dataset: Dataset,
        periods: Sequence[Period],
        options: ReplayOptions,
        training: TrainingOptions,
        *,
        watcher: ReplayWatcher | None = None,
    ) -> None:
        if len(periods) <= options.start:
            raise DataError(
                f"{len(periods)} periods are too few: the first model learns from {options.start}",
                hint="Make periods shorter, or give a smaller --start.",
            )
        self._platform, self._tracking = platform, tracking
        self._dataset, self._periods, self._options = dataset, tuple(periods), options
        self._training = replace(training, split="random")
        self._watcher = watcher or ReplayWatcher()
        self._name = f"{dataset.name}-replay"
        self._address = endpoint_name(self._name)
        self._trainer = Trainer(platform, tracking, dataset, self._name, self._training)
        features = [str(name) for name in dataset.features.columns]
        unknown = [name for name in options.ignored if name not in (*features, dataset.target)]
        if unknown:
            raise UsageError(
                f"there is no column '{unknown[0]}' to ignore",
                hint=f"Features: {', '.join(features)}.",
            )
        watched = [name for name in features if name not in options.ignored]
        if not watched:
            raise UsageError("every feature is ignored", hint="Leave at least one to watch.")
        self._watched = watched
        self._trained: int | None = None
        # What labels told of the champion's estimates, oldest first.
        self._told: list[Told] = []

    def run(self) -> History:
        """Replay all periods after the first ones; the endpoint is deleted at the end.

        Raises
        ------
        TwinmlError
            A training, a deployment or the endpoint failed.
        """
        started = time.monotonic()
        learned = self._periods[: self._options.start]
        self._watcher.says(f"training the first model on {learned[-1].stop:,} rows")
        first = self._trainer.first(learned[-1].stop)
        self._classes = first.classes
        entries: list[Entry] = []
        with self._endpoint(first.served):
            champion, challenger = first.served, None
            self._hears_of(champion)
            for period in self._periods[self._options.start :]:
                entry, champion, challenger = self._play(period, champion, challenger)
                entries.append(entry)
                self._watcher.ended(entry)
        self._watcher.says("training on rows drawn at random from the whole table")
        return History(
            name=self._dataset.name,
            classes=self._classes,
            learned_from=(
                f"the {learned[-1].stop:,} rows of {len(learned)} periods, "
                f"{learned[0].label} to {learned[-1].label}"
            ),
            window=self._options.window,
            random_split=self._trainer.random_split(),
            entries=tuple(entries),
            seconds=time.monotonic() - started,
        )

    # One period

    def _play(
        self, period: Period, champion: Served, challenger: Served | None
    ) -> tuple[Entry, Served, Served | None]:
        started = time.monotonic()
        rows = self._dataset.features.iloc[period.start : period.stop]
        answered = self._ask(rows, None)
        never = self._ask(rows, FIRST)
        expected = self._estimated(champion, rows, answered)
        # The period is over: its labels are there.
        truth = self._truth(period)
        shares = self._shares(truth)
        serving, trying = champion, challenger
        decision, reason = self._judge(rows, truth, champion, challenger)
        if decision == "promoted" and challenger is not None:
            promote(
                self._tracking,
                self._name,
                version=challenger.model.version,
                reason=f"{period.label}: {reason}",
                platform=self._platform,
                endpoint=self._address,
                by="twinml replay",
            )
            champion, challenger = challenger, None
            self._hears_of(champion)
        self._hear(rows, truth, champion)
        kept = scores(truth, answered)
        drifted = self._drifted(champion, rows)
        error = _standard_error(truth, answered)
        why = self._why(champion, serving, drifted, kept.loss, error)
        proposed = None
        if period is self._periods[-1] or self._pausing(period):
            why = ""  # Nothing would ever ask what is trained last.
        if why:
            self._trained = period.number
            self._watcher.says(f"{period.label}: {why} The pipeline trains again")
            made = self._trainer.propose(period.stop, self._options.window, self._options.share)
            if made.served is not None:
                proposed, challenger = made.served.version, made.served
            else:
                why = f"{why} Nothing was proposed: {made.reason}."
        entry = Entry(
            number=period.number,
            label=period.label,
            n_rows=period.n_rows,
            shares=shares,
            first=scores(truth, never),
            kept=kept,
            champion=serving.version,
            challenger=trying.version if trying is not None else None,
            drifted=drifted,
            why=why,
            decision=decision,
            reason=reason,
            proposed=proposed,
            seconds=time.monotonic() - started,
            foretold=self._compared(expected, truth, answered),
        )
        return entry, champion, challenger

    def _estimated(
        self, champion: Served, rows: pd.DataFrame, answered: Floats
    ) -> Estimated | None:
        """Estimate what the answers are worth, as could be done before the labels came."""
        if not self._classes:
            return None
        return estimate(answered, drifted=self._drifted(champion, rows), told=self._told)

    def _hears_of(self, champion: Served) -> None:
        """Begin with what the rows told that a new champion's training held out."""
        self._told = []
        run_id = champion.model.run_id
        folder = runs.run(self._tracking.uri, run_id).folder if run_id else None
        held_out = None if folder is None else held_out_rows.read(folder)
        if held_out is not None and held_out.classes:
            found = told_by(held_out.predicted, held_out.truth)
            self._told = [found] if found else []

    def _hear(self, rows: pd.DataFrame, truth: Labels, champion: Served) -> None:
        """Add what the labels of a period tell of the champion's own answers."""
        if self._classes:
            found = told_by(self._ask(rows, champion.deployment), truth)
            self._told += [found] if found else []

    def _compared(
        self, expected: Estimated | None, truth: Labels, answered: Floats
    ) -> Foretold | None:
        """Return the estimate beside the truth."""
        if expected is None:
            return None
        true = roc_auc(answered, np.eye(len(self._classes))[truth])
        return Foretold(expected.roc_auc, true, expected.margin, expected.doubt)

    def _shares(self, truth: Labels) -> dict[str, float]:
        """Return the share of each class, or the mean of numbers."""
        if not self._classes:
            return {self._dataset.target: float(truth.mean())}
        shares = np.bincount(truth, minlength=len(self._classes)) / len(truth)
        return dict(zip(self._classes, map(float, shares), strict=True))

    def _judge(
        self, rows: pd.DataFrame, truth: Labels, champion: Served, challenger: Served | None
    ) -> tuple[Decision, str]:
        """Compare both on all rows of the period, now that the labels are there."""
        if challenger is None:
            return "no challenger", ""
        try:
            found = compare_predictions(
                truth,
                self._ask(rows, champion.deployment),
                self._ask(rows, challenger.deployment),
                names=("the champion", "the challenger"),
                primary="log_loss" if self._classes else "root_mean_squared_error",
            )
        except DataError as error:
            return "kept", error.message
        shipped = found.verdict.decision == "ship B"
        return ("promoted" if shipped else "kept"), found.verdict.reason

    def _pausing(self, period: Period) -> bool:
        return self._trained is not None and period.number - self._trained <= self._options.pause

    def _drifted(self, champion: Served, rows: pd.DataFrame) -> tuple[str, ...]:
        found = drift.compare(
            model_frame(champion.reference), model_frame(rows), features=self._watched
        )
        return found.drifted

    def _why(
        self,
        champion: Served,
        serving: Served,
        drifted: tuple[str, ...],
        loss: float,
        error: float,
    ) -> str:
        """Say why the pipeline is to run after this period; empty if it is not."""
        reasons = []
        if drifted:
            more = len(drifted) - 3
            named = ", ".join(drifted[:3]) + (f" and {more} more" if more > 0 else "")
            reasons.append(f"{named} drifted")
        # A champion that has just been promoted has not answered this period's rows.
        if champion is serving and loss - 2 * error > self._options.worse * champion.loss:
            name = "log loss" if self._classes else "RMSE"
            reasons.append(f"{name} {loss:.3f} where {champion.loss:.3f} was promised")
        return f"{'; '.join(reasons)}." if reasons else ""

    # The endpoint

    @contextmanager
    def _endpoint(self, first: Served) -> Iterator[None]:
        """Deploy the first model twice: one deployment learns, the other one never does."""
        self._withdraw()
        self._watcher.says(f"deploying {first.version}")
        try:
            for deployment in (first.deployment, FIRST):
                self._platform.deploy(first.model, endpoint=self._address, deployment=deployment)
            self._platform.set_traffic(self._address, {first.deployment: 100, FIRST: 0})
            yield
        finally:
            self._withdraw()

    def _withdraw(self) -> None:
        try:
            self._platform.endpoint_info(self._address)
        except NotFound:
            return
        self._platform.delete(self._address)

    def _ask(self, rows: pd.DataFrame, deployment: str | None) -> Floats:
        """Return the probabilities that the endpoint gives, shape (n_rows, n_classes).

        Without a deployment's name the traffic decides, request by request.
        """
        info = self._platform.endpoint_info(self._address)
        key = self._platform.keys(self._address).primary
        size = CHUNK_ROWS if deployment is not None else CALL_ROWS
        found: list[list[float]] = []
        with Endpoint(info.scoring_uri, key, deployment=deployment) as client:
            for start in range(0, len(rows), size):
                ask = client.score_proba if self._classes else client.numbers
                found += ask(records(rows.iloc[start : start + size]))
        return np.array(found, dtype=np.float64)

    def _truth(self, period: Period) -> Labels:
        part = self._dataset.labels.iloc[period.start : period.stop]
        if not self._classes:
            return part.to_numpy(dtype=np.float64)
        labels = part.astype(str)
        numbers = {name: number for number, name in enumerate(self._classes)}
        return np.array([numbers[label] for label in labels], dtype=np.int64)


def _standard_error(truth: Labels, probabilities: Floats) -> float:
    """Return the standard error of the mean log loss, or about that of the RMSE."""
    if probabilities.shape[1] == 1:
        squared = (truth - probabilities[:, 0]) ** 2
        root = float(np.sqrt(squared.mean()))
        # By the delta method.
        enough = len(squared) > 1 and root > 0
        return float(squared.std(ddof=1) / np.sqrt(len(squared)) / (2 * root)) if enough else 0.0
    losses = offline.row_losses(truth, probabilities)
    return float(losses.std(ddof=1) / np.sqrt(len(losses))) if len(losses) > 1 else 0.0
