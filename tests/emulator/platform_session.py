"""The platform ``azure`` as the workflow uses it, as a program: variables say where.

Prints one JSON object with what it saw; the tests look at that.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any


def saved_model(folder: Path) -> Path:
    """Save a small model as twinml does."""
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder
    from sklearn.tree import DecisionTreeClassifier

    from twinml import model
    from twinml.contract import infer_contract

    rows = pd.DataFrame({"age": [20, 70, 30, 80], "job": ["cook", "none", "cook", "none"]})
    labels = pd.Series(["no", "yes", "no", "yes"], name="y")
    encoder = ColumnTransformer([("job", OrdinalEncoder(), ["job"])], remainder="passthrough")
    pipeline = Pipeline([("encode", encoder), ("tree", DecisionTreeClassifier())])
    pipeline.fit(rows, labels)
    model.save(pipeline, infer_contract(rows, labels, name="bank"), folder)
    return folder


def main(folder: Path) -> dict[str, Any]:
    from twinml.data import load as load_data
    from twinml.errors import TwinmlError
    from twinml.platform import load
    from twinml.training import TrainingOptions
    from twinml_azure.platform import AzurePlatform
    from twinml_azure.resources import Sizes, ensure_cluster

    platform = load("azure")
    assert isinstance(platform, AzurePlatform)
    seen: dict[str, Any] = {}

    def make_endpoint(name: str, tags: dict[str, str]) -> None:
        from azure.ai.ml.entities import ManagedOnlineEndpoint

        made = ManagedOnlineEndpoint(name=name, auth_mode="key", tags=tags)
        with platform._connection.errors():
            platform._connection.client.online_endpoints.begin_create_or_update(made).result()

    def refused(action: Callable[[], Any]) -> dict[str, str]:
        try:
            action()
        except TwinmlError as error:
            return {"kind": type(error).__name__, "text": str(error)}
        raise AssertionError("it was not refused")

    table = folder / "bank.csv"
    table.write_text(
        "age,job,y\n" + "".join(f"{n},cook,no\n{n + 40},none,yes\n" for n in range(30))
    )
    for name, changes in (("data", {}), ("data_again", {}), ("data_dropped", {"drop": ["age"]})):
        seen[name] = asdict(platform.register_data(load_data(table, "y", name="bank", **changes)))
    directory = saved_model(folder / "model")
    for name in ("model", "model_again"):
        seen[name] = asdict(platform.register_model(directory, name="bank", run_id="r1"))
    version = platform.register_model(directory, name="bank")

    seen["no_endpoint"] = refused(lambda: platform.endpoint_info("bank-ep"))
    make_endpoint("bank-ep", tags={"twinml": "endpoint"})
    make_endpoint("mine", tags={"team": "risk"})
    seen["foreign"] = refused(lambda: platform.deploy(version, endpoint="mine", deployment="blue"))
    seen["info"] = asdict(platform.endpoint_info("bank-ep"))
    seen["endpoints"] = [info.name for info in platform.endpoints()]
    keys = platform.keys("bank-ep")
    seen["keys"] = len({keys.primary, keys.secondary})
    with platform.endpoint("bank-ep") as endpoint:
        seen["client"] = repr(endpoint) + endpoint.scoring_uri
        seen["key_shown"] = keys.primary in repr(endpoint)
    seen["logs"] = refused(lambda: list(platform.logs("bank-ep")))
    seen["stop"] = list(platform.stop())
    renewed = platform.regenerate_key("bank-ep", "secondary")
    seen["renewed"] = [renewed.primary == keys.primary, renewed.secondary != keys.secondary]
    seen["bad_traffic"] = refused(lambda: platform.set_traffic("bank-ep", {"green": 100}))
    dataset = load_data(table, "y", name="bank")
    options = TrainingOptions(trials=2)
    for name, told in (("plan", {"digest": version.digest}), ("plan_untrained", {})):
        changes = platform.plan(dataset, options, train="job", pipeline=False, **told)
        seen[name] = [asdict(change) for change in changes]
    seen["checks"] = [asdict(check) for check in platform.check(directory)]
    sizes = Sizes(instance_type="Standard_Z9", cluster_size="Standard_NC6s_v3")
    seen["too_large"] = [asdict(check) for check in AzurePlatform(sizes=sizes).check()]
    ensure_cluster(platform._connection, Sizes())
    seen["removable"] = [asdict(change) for change in platform.removable()]
    platform.delete("bank-ep")
    seen["deleted"] = [info.name for info in platform.endpoints()]
    for change in platform.removable():
        platform.remove(change)
    seen["left"] = [asdict(change) for change in platform.removable()]
    everything = platform._connection.client.online_endpoints.list()
    seen["foreign_left"] = [item.name for item in everything]
    return seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]))) + "\n")
