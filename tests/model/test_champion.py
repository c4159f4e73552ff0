"""Models judged on the same rows, and promotions on record, in a real MLflow store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import make_table
from twinml.data import Dataset, load
from twinml.errors import ModelError, NotFound, PlatformError, UsageError
from twinml.platform import EndpointInfo, ModelReference, ModelVersion, TrainedModel
from twinml.registry import training_run
from twinml.registry.champion import compare
from twinml.registry.promotion import promote, promotions
from twinml.registry.tracking import Tracking
from twinml.training import TrainingOptions

QUICK = TrainingOptions(trials=1, learners=("LogisticRegression",))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("champion") / "customers.csv"
    make_table().to_csv(path, index=False)
    return path


def trained(dataset: Dataset, tracking: Tracking) -> TrainedModel:
    return training_run.run(dataset, QUICK, tracking)


def test_the_better_model_is_better_and_both_are_measured(table: Path) -> None:
    tracking = Tracking()
    strong_data = load(table, "y")
    weak = trained(load(table, "y", drop=["age", "income"]), tracking)
    strong = trained(strong_data, tracking)
    rows = strong_data.frame.iloc[strong.result.test.rows]

    first = compare(tracking, weak.directory, rows, name="customers", metric="roc_auc")
    assert first.better
    assert "has no champion yet" in first.reason
    # What is measured here is what the training measured on the same rows.
    assert first.candidate["roc_auc"] == weak.result.test.metrics["roc_auc"].value

    tracking.register("customers", run_id=weak.run_id, digest=weak.digest)
    found = compare(
        tracking,
        strong.directory,
        rows,
        name="customers",
        metric="log_loss",
        same_data=strong_data.digest,
    )
    assert found.better
    assert found.champion == first.candidate
    assert found.champion_version == "1"
    assert found.candidate["log_loss"] < found.champion["log_loss"]
    assert found.paired is not None
    assert found.paired["n_rows"] == len(rows)
    assert "may have seen" not in found.reason

    asked_too_much = compare(
        tracking, strong.directory, rows, name="customers", metric="roc_auc", min_gain=0.9
    )
    assert not asked_too_much.better
    other_data = compare(
        tracking,
        strong.directory,
        rows,
        name="customers",
        metric="roc_auc",
        same_data="another digest",
    )
    assert "may have seen some of the rows" in other_data.reason

    # Rows that one of them cannot score show nothing.
    tracking.client.set_registered_model_alias(
        "customers",
        "champion",
        tracking.register("customers", run_id=strong.run_id, digest=strong.digest).version,
    )
    no_age = rows.drop(columns=["age"])
    unknown = compare(tracking, weak.directory, no_age, name="customers", metric="roc_auc")
    assert not unknown.better
    assert "not comparable" in unknown.reason
    assert "lack its column 'age'" in unknown.reason
    fewer = rows.drop(columns=["job"])
    with pytest.raises(ModelError, match="lack its column 'job'"):
        compare(tracking, strong.directory, fewer, name="customers", metric="roc_auc")
    for least in (-0.1, float("nan")):
        with pytest.raises(UsageError, match="the least gain is"):
            compare(
                tracking, strong.directory, rows, name="customers", metric="roc_auc", min_gain=least
            )
    with pytest.raises(UsageError, match="there is no metric 'auc'"):
        compare(tracking, strong.directory, rows, name="customers", metric="auc")


class Refusing:
    """A platform on which a deployment fails, as for want of quota."""

    def endpoint_info(self, endpoint: str) -> EndpointInfo:
        raise NotFound(f"there is no endpoint '{endpoint}'")

    def deploy(self, model: ModelVersion, *, endpoint: str, deployment: str) -> EndpointInfo:
        raise PlatformError("no quota")


def test_a_promotion_is_on_record_even_if_it_breaks_off(table: Path) -> None:
    tracking = Tracking()
    dataset = load(table, "y")
    for data in (load(table, "y", drop=["age", "income"]), dataset):
        done = trained(data, tracking)
        tracking.register("customers", run_id=done.run_id, digest=done.digest)
    assert tracking.resolve(ModelReference.parse("customers")).version == "1"

    with pytest.raises(PlatformError, match="no quota"):
        promote(tracking, "customers", reason="better", platform=Refusing(), endpoint="customers")  # type: ignore[arg-type]
    [broken] = promotions(tracking)
    assert tracking.client.get_run(broken.id).info.status == "FAILED"
    assert (broken.complete, broken.version, broken.previous) == (False, "2", "1")

    assert tracking.resolve(ModelReference.parse("customers")).version == "1"

    # The same again completes it.
    made = promote(tracking, "customers", reason="better", by="ann")
    assert made.previous == "1"
    newest, _ = promotions(tracking, "customers")
    assert newest == made
    assert (made.by, made.complete) == ("ann", True)
    assert made.figures["new_test_roc_auc"] > 0.5
    assert tracking.resolve(ModelReference.parse("customers")).version == "2"
    assert tracking.resolve(ModelReference.parse("customers/2")).aliases == ("champion",)
    assert promotions(tracking, "others") == ()
    with pytest.raises(NotFound, match="has no challenger"):
        promote(tracking, "customers", reason="again")
    with pytest.raises(NotFound, match="no registered model"):
        promote(tracking, "others", reason="new")
    with pytest.raises(UsageError, match="needs a reason"):
        promote(tracking, "customers", reason=" ", version="1")
