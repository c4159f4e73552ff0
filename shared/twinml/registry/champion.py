"""Champion and challenger: which model serves, and whether a new one is better.

::

    champion.compare ──▶ promotion.propose ──▶ promotion.promote
    both models on       10 % of the           the challenger is champion; who, when,
    the same rows        traffic               why and the figures are on record

A model version is champion or challenger by an alias in MLflow's registry, or by a tag where
the registry has none: see ``aliases``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinml.errors import ModelError, NotFound, TwinmlError, UsageError
from twinml.platform import ModelReference
from twinml.registry.model_files import fetch_model
from twinml.registry.training_run import model_folder

if TYPE_CHECKING:
    import pandas as pd

    from twinml.registry.tracking import Tracking

__all__ = ["Judgement", "compare", "compare_out_of_fold"]


@dataclass(frozen=True)
class Judgement:
    """Whether a candidate is better than the champion on the same rows, and why.

    ``metric`` is the one that decided. ``candidate`` and ``champion`` are metrics by name;
    ``champion`` is ``None`` where there is none, or it cannot score the rows.
    """

    better: bool
    reason: str
    metric: str
    candidate: Mapping[str, float]
    champion: Mapping[str, float] | None = None
    champion_version: str | None = None
    rows: int = 0
    paired: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return asdict(self)


def compare(
    tracking: Tracking,
    candidate: Path,
    rows: pd.DataFrame,
    *,
    name: str,
    metric: str,
    min_gain: float = 0.0,
    same_data: str | None = None,
) -> Judgement:
    """Judge a model directory against the champion of ``name`` on labelled rows.

    A model that has seen all rows is judged by its recipe, fitted without the test rows.

    The first model of a name is better than none. One that cannot be compared, because the
    champion cannot score the rows, is not shown to be better.

    Parameters
    ----------
    rows
        Features and the target; rows that what was measured of the candidate did not learn from.
    metric
        Decides; the candidate must be better by more than ``min_gain``, 0 or more. Where areas
        tie and no gain is asked for, log loss decides.
    same_data
        Digest of the data set that the rows are from. If the champion learned from another
        one, it may have seen some of the rows, which the reason then says.

    Raises
    ------
    ModelError
        The candidate cannot score the rows.
    UsageError
        There is no such metric, or ``min_gain`` is below 0.
    """
    from twinml.training.metrics import beats

    check(metric, min_gain)
    labels, probabilities, figures = _measure(candidate, rows)
    n_rows = len(rows)
    try:
        champion = tracking.resolve(ModelReference(name))
    except NotFound:
        reason = f"{name} has no champion yet; {_says(metric, figures)} on {n_rows:,} rows"
        return Judgement(True, reason, metric, figures, rows=n_rows)
    held = str(champion.reference)
    try:
        directory = fetch_model(tracking, champion, model_folder(champion.digest))
        if _saw_all(directory, same_data):
            raise ModelError("it learned from all rows of the same data")
        old_labels, old_probabilities, old = _measure(directory, rows)
    except TwinmlError as error:
        reason = (
            f"not comparable: the champion {held} cannot be judged by these rows: {error.message}"
        )
        return Judgement(False, reason, metric, figures, None, champion.version, n_rows)
    if old_probabilities.shape != probabilities.shape or (old_labels != labels).any():
        reason = f"not comparable: the champion {held} knows other classes"
        return Judgement(False, reason, metric, figures, None, champion.version, n_rows)
    better, decider = beats(metric, figures, old, min_gain)
    paired = _paired(labels, old_probabilities, probabilities, held)
    verb = "beats" if better else "does not beat"
    ties = f"{_says(metric, figures)} ties with {old[metric]:.4f}, and "
    reason = (
        f"{'' if decider == metric else ties}{_says(decider, figures)} {verb} "
        f"{old[decider]:.4f} of the champion {held}{_by(min_gain)} on the same "
        f"{n_rows:,} rows ({paired['verdict']['decision']} says the paired test)"
    )
    if same_data is not None and _data_of(directory) != same_data:
        reason += "; the champion learned from other data and may have seen some of the rows"
    return Judgement(better, reason, decider, figures, old, champion.version, n_rows, paired)


def compare_out_of_fold(
    tracking: Tracking,
    run_id: str,
    figures: Mapping[str, float],
    rows: int,
    *,
    name: str,
    metric: str,
    min_gain: float = 0.0,
) -> Judgement:
    """Judge a model of few rows, none of which were held out, against the champion of ``name``.

    Two models are compared by rows that neither has learned from. Here there are none, but where
    the champion was judged out of fold by the same rows, figures of rows that no judged model has
    seen are there of both. Else the champion stays.

    Parameters
    ----------
    run_id, figures, rows
        The candidate's run, its metrics out of fold, and of how many rows.
    metric, min_gain
        As in ``compare``.
    """
    from twinml.training.estimates import OUT_OF_FOLD
    from twinml.training.metrics import beats

    check(metric, min_gain)
    try:
        champion = tracking.resolve(ModelReference(name))
    except NotFound:
        reason = f"{name} has no champion yet; {_says(metric, figures)} out of fold on {rows} rows"
        return Judgement(True, reason, metric, figures, rows=rows)
    held = str(champion.reference)
    if not tracking.judged_alike(run_id, champion.run_id):
        reason = (
            f"not comparable: no rows were held out, as {rows} are too few, and the champion "
            f"{held} was not judged by the same rows; it stays. Compare both on newer rows with "
            "twinml abtest, and promote by hand"
        )
        return Judgement(False, reason, metric, figures, None, champion.version, rows)
    logged, prefix = tracking.metrics(str(champion.run_id)), f"{OUT_OF_FOLD}_"
    old = {
        key.removeprefix(prefix): value for key, value in logged.items() if key.startswith(prefix)
    }
    better, decider = beats(metric, figures, old, min_gain)
    reason = (
        f"{_says(decider, figures)} {'beats' if better else 'does not beat'} {old[decider]:.4f} of "
        f"the champion {held}{_by(min_gain)}, both out of fold on the same {rows} rows"
    )
    return Judgement(better, reason, decider, figures, old, champion.version, rows)


def check(metric: str, min_gain: float) -> None:
    """Refuse what nothing can be judged by.

    Raises
    ------
    UsageError
        There is no such metric, or ``min_gain`` is below 0.
    """
    from twinml.training.metrics import HIGHER_IS_BETTER

    if metric not in HIGHER_IS_BETTER:
        raise UsageError(
            f"there is no metric '{metric}'", hint=f"Known: {', '.join(HIGHER_IS_BETTER)}."
        )
    if not min_gain >= 0:
        raise UsageError(
            f"the least gain is {min_gain:g}",
            hint="Take 0 or more: a worse model never replaces the champion.",
        )


def _saw_all(directory: Path, data: str | None) -> bool:
    """Tell whether a model learned from all rows of ``data``, and no recipe of it did with less."""
    from twinml import model
    from twinml.training.estimates import OUT_OF_FOLD, WORDS

    kept = model.metadata(directory)
    judged = str(kept.get("split", ""))
    return judged.startswith(WORDS[OUT_OF_FOLD]) and data is not None and kept.get("data") == data


def _by(min_gain: float) -> str:
    return f" by more than {min_gain:g}" if min_gain else ""


def _measure(directory: Path, rows: pd.DataFrame) -> Any:
    """Return labels, probabilities and metrics of a model on labelled rows."""
    from twinml import model
    from twinml.contract import model_frame
    from twinml.training.tasks import predictions, task_of_model

    contract = model.load_contract(directory)
    missing = [name for name in [*contract.column_names, contract.target] if name not in rows]
    if missing:
        raise ModelError(f"the rows lack its column '{missing[0]}'")
    task = task_of_model(contract)
    labels = task.truth(rows[contract.target])
    predictor = model.load_measured(directory, model.digest(directory))
    features = model_frame(rows[list(contract.column_names)], contract)
    predicted = predictions(predictor, features)
    threshold = model.metadata(directory).get("threshold")
    return labels, predicted, task.score(labels, predicted, threshold)


def _paired(labels: Any, old: Any, new: Any, held: str) -> dict[str, Any]:
    from twinml.abtest.predictions import compare_predictions

    names = (held, "candidate")
    found = compare_predictions(labels, old, new, names=names, n_bootstrap=400)
    return found.to_dict()


def _says(metric: str, figures: Mapping[str, float]) -> str:
    from twinml.training.metrics import title

    return f"{title(metric)} {figures[metric]:.4f}"


def _data_of(directory: Path) -> str | None:
    """Return the digest of the data that a model learned from; ``None`` of one made elsewhere."""
    from twinml import model

    found: str | None = model.metadata(directory).get("data")
    return found
