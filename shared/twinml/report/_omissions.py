"""What a run did not look at: sampled, dropped or skipped, in one list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinml.pages.wording import counted, listed, sentence
from twinml.training.splits import split_column

if TYPE_CHECKING:
    from twinml.data import Dataset
    from twinml.training.result import TrainingResult

__all__ = ["omissions"]

# Remarks about rows, classes, lines and sheets of the file that are not there any more.
GONE = ("null-target", "rare-dropped", "rare-joined", "above-header", "sheet")


def omissions(result: TrainingResult, dataset: Dataset) -> list[str]:
    """Return a sentence for everything that was sampled, dropped or skipped, rows first."""
    found = []
    if result.interrupted:
        found.append("The search was interrupted: what is shown is the best of what was finished.")
    found += [sentence(each.message) for each in dataset.findings if each.kind in GONE]
    if dataset.dropped:
        found.append(
            f"{counted(len(dataset.dropped), 'column')} of the file "
            f"{'is' if len(dataset.dropped) == 1 else 'are'} not in the model: "
            f"{listed(dataset.dropped)}."
        )
    column = split_column(result.test.split)
    if column is not None:
        found.append(f"“{column}” divides the rows, and is no column of the model.")
    found += [sentence(each) for each in result.notes]
    stopped = sum(trial.loss is None for trial in result.trials)
    if stopped:
        found.append(
            f"{counted(stopped, 'configuration')} of {len(result.trials):,} "
            f"{'was' if stopped == 1 else 'were'} stopped early or failed."
        )
    if result.forward is None:
        found.append(f"There is no estimate forward in time: {sentence(result.forward_note)}")
    if not len(result.importance):
        found.append("Permutation importance was not measured.")
    elif result.importance["std"].isna().all():
        found.append("Permutation importance is of one repeat, so it has no whiskers.")
    return list(dict.fromkeys(found))
