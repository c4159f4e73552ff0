"""Champion and challenger in a real registry, by aliases and by tags."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from twinml.registry.aliases import CHALLENGER, CHAMPION, Aliases
from twinml.registry.tracking import DIGEST, Tracking


@pytest.mark.parametrize("kind", ["sqlite:", "azureml:"])
def test_a_title_has_one_holder_and_a_champion_is_no_challenger(tmp_path: Path, kind: str) -> None:
    uri = f"sqlite:///{tmp_path / 'registry.db'}"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    # What has no aliases is told by its address; the registry behind it is a real one.
    aliases = Aliases(client, kind)
    client.create_registered_model("bank")
    for _ in range(3):
        client.create_model_version("bank", source=tmp_path.as_uri())

    def version(number: int):
        return client.get_model_version("bank", str(number))

    def held() -> list[tuple[str, ...]]:
        return [aliases.of(version(number)) for number in (1, 2, 3)]

    def holders() -> list[int | None]:
        found = [aliases.holder("bank", title) for title in (CHAMPION, CHALLENGER)]
        return [int(one.version) if one else None for one in found]

    assert (holders(), held()) == ([None, None], [(), (), ()])
    aliases.give(version(1), CHAMPION)
    aliases.give(version(2), CHALLENGER)
    assert (holders(), held()) == ([1, 2], [("champion",), ("challenger",), ()])
    aliases.give(version(3), CHALLENGER)
    assert (holders(), held()) == ([1, 3], [("champion",), (), ("challenger",)])
    aliases.give(version(3), CHAMPION)
    assert (holders(), held()) == ([3, None], [(), (), ("champion",)])
    aliases.give(version(1), CHALLENGER)
    assert (holders(), held()) == ([3, 1], [("challenger",), (), ("champion",)])
    aliases.give(version(1), CHAMPION)
    assert (holders(), held()) == ([1, None], [("champion",), (), ()])
    aliases = client.get_registered_model("bank").aliases
    assert set(aliases) == ({CHAMPION} if kind == "sqlite:" else set())


def test_a_model_that_was_uploaded_without_a_title_becomes_champion_if_none_is(
    tmp_path: Path,
) -> None:
    tracking = Tracking(f"sqlite:///{tmp_path / 'registry.db'}")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text("flavors: {}\n")
    digests = ("a" * 64, "b" * 64)
    runs = [tracking.upload("bank", tmp_path / "model", digest=digest) for digest in digests]
    tracking.client.create_registered_model("bank")
    for digest in digests:
        source = (tmp_path / "model").as_uri()
        tracking.client.create_model_version("bank", source=source, tags={DIGEST: digest})
    found = tracking.register("bank", run_id=runs[1], digest=digests[1])
    assert (found.version, found.aliases) == ("2", (CHAMPION,))
    again = tracking.register("bank", run_id=runs[0], digest=digests[0])
    assert (again.version, again.aliases) == ("1", ())
