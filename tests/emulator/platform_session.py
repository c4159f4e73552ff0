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
    from twinml.contract import Contract

    rows = pd.DataFrame({"age": [20, 70, 30, 80], "job": ["cook", "none", "cook", "none"]})
    labels = pd.Series(["no", "yes", "no", "yes"], name="y")
    encoder = ColumnTransformer([("job", OrdinalEncoder(), ["job"])], remainder="passthrough")
    pipeline = Pipeline([("encode", encoder), ("tree", DecisionTreeClassifier())])
    pipeline.fit(rows, labels)
    model.save(pipeline, Contract.from_frame(rows, labels, name="bank"), folder)
    return folder


def main(folder: Path) -> dict[str, Any]:
    from twinml.data import load as load_data
    from twinml.errors import TwinmlError
    from twinml.platform import load

    platform = load("azure")
    seen: dict[str, Any] = {}

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
    seen["deploy"] = refused(
        lambda: platform.deploy(version, endpoint="bank-ep", deployment="blue")
    )
    seen["info"] = asdict(platform.endpoint_info("bank-ep"))
    seen["endpoints"] = [info.name for info in platform.endpoints()]
    keys = platform.keys("bank-ep")
    seen["keys"] = len({keys.primary, keys.secondary})
    with platform.endpoint("bank-ep") as endpoint:
        seen["client"] = repr(endpoint) + endpoint.scoring_uri
        seen["key_shown"] = keys.primary in repr(endpoint)
    seen["logs"] = refused(lambda: list(platform.logs("bank-ep")))
    seen["pipelines"] = [
        refused(lambda: platform.publish_pipeline("p", {})),
        refused(lambda: platform.run_pipeline("p", {})),
        refused(lambda: platform.pipeline_job("p", "1")),
        refused(lambda: platform.pipeline_client("p")),
    ]
    seen["stop"] = list(platform.stop())
    renewed = platform.regenerate_key("bank-ep", "secondary")
    seen["renewed"] = [renewed.primary == keys.primary, renewed.secondary != keys.secondary]
    seen["bad_traffic"] = refused(lambda: platform.set_traffic("bank-ep", {"green": 100}))
    platform.delete("bank-ep")
    seen["deleted"] = [info.name for info in platform.endpoints()]
    return seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]))) + "\n")
