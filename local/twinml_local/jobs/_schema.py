"""Which keys of Azure ML's YAML mean something here, which do not, and which are refused.

``USED`` have their effect. ``INERT`` describe Azure's machines or its studio: they are
accepted, so that a file runs on both sides, and change nothing here. Every other key is
refused by its name and place, because a run that ignores it would not be the one asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twinml.errors import UsageError

__all__ = [
    "AUTOML",
    "AUTOML_LIMITS",
    "AUTOML_TRAINING",
    "COMPONENT",
    "INPUT",
    "JOB_INPUT",
    "NODE",
    "OUTPUT",
    "PIPELINE",
    "PIPELINE_COMPONENT",
    "SETTINGS",
    "Keys",
    "check_keys",
    "refused",
]

HINT = "Leave it out, or run the file on Azure; docs/pipelines.md lists what runs here."


@dataclass(frozen=True)
class Keys:
    """The keys that one kind of object may have."""

    used: frozenset[str]
    inert: frozenset[str] = frozenset()


def _keys(used: str, inert: str = "") -> Keys:
    return Keys(frozenset(used.split()), frozenset(inert.split()))


_LABELS = "$schema name version display_name description tags properties"

PIPELINE = _keys(
    "type experiment_name inputs outputs jobs settings name display_name tags",
    "$schema description properties compute identity",
)
SETTINGS = _keys("continue_on_step_failure force_rerun", "default_compute default_datastore")
PIPELINE_COMPONENT = _keys(
    "type inputs outputs jobs name display_name", f"{_LABELS} is_deterministic"
)
NODE = _keys(
    "type component inputs outputs environment environment_variables limits tags display_name "
    # Of a command that is written out in place, without a component:
    "command code is_deterministic",
    "$schema name version description properties compute resources identity queue_settings "
    "experiment_name",
)
COMPONENT = _keys(
    "type inputs outputs command code environment environment_variables is_deterministic tags "
    "display_name",
    "$schema name version description properties resources",
)
AUTOML = _keys(
    "type task primary_metric target_column_name training_data n_cross_validations limits "
    "training featurization outputs display_name",
    "$schema name description tags properties compute resources identity queue_settings "
    "experiment_name log_verbosity",
)
AUTOML_LIMITS = _keys(
    "timeout_minutes max_trials max_concurrent_trials",
    "max_nodes max_cores_per_trial enable_early_termination",
)
AUTOML_TRAINING = _keys(
    "enable_vote_ensemble enable_stack_ensemble allowed_training_algorithms "
    "blocked_training_algorithms",
    "enable_model_explainability",
)
INPUT = _keys("type optional default min max enum description", "mode")
JOB_INPUT = _keys("type path value default optional min max enum", "mode description")
OUTPUT = _keys("type description", "mode name version path")


def check_keys(content: Mapping[str, Any], known: Keys, place: str) -> None:
    """Raise ``UsageError`` for a key that is neither used nor inert."""
    for key in content:
        if key not in known.used and key not in known.inert:
            raise refused(f"{place}.{key}" if place else str(key))


def refused(place: str, why: str = "") -> UsageError:
    """Return the error for something that is not done here."""
    return UsageError(
        f"{place} is not supported on this machine{f': {why}' if why else ''}", hint=HINT
    )
