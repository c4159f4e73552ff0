"""Champion and challenger in a real registry, by aliases and by tags."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from twinml.titles import CHALLENGER, CHAMPION, Titles


@pytest.mark.parametrize("kind", ["sqlite:", "azureml:"])
def test_a_title_has_one_holder_and_a_champion_is_no_challenger(tmp_path: Path, kind: str) -> None:
    uri = f"sqlite:///{tmp_path / 'registry.db'}"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    # What has no aliases is told by its address; the registry behind it is a real one.
    titles = Titles(client, kind)
    client.create_registered_model("bank")
    for _ in range(3):
        client.create_model_version("bank", source=tmp_path.as_uri())

    def version(number: int):
        return client.get_model_version("bank", str(number))

    def held() -> list[tuple[str, ...]]:
        return [titles.of(version(number)) for number in (1, 2, 3)]

    def holders() -> list[int | None]:
        found = [titles.holder("bank", title) for title in (CHAMPION, CHALLENGER)]
        return [int(one.version) if one else None for one in found]

    assert (holders(), held()) == ([None, None], [(), (), ()])
    titles.give(version(1), CHAMPION)
    titles.give(version(2), CHALLENGER)
    assert (holders(), held()) == ([1, 2], [("champion",), ("challenger",), ()])
    titles.give(version(3), CHALLENGER)
    assert (holders(), held()) == ([1, 3], [("champion",), (), ("challenger",)])
    titles.give(version(3), CHAMPION)
    assert (holders(), held()) == ([3, None], [(), (), ("champion",)])
    titles.give(version(1), CHALLENGER)
    assert (holders(), held()) == ([3, 1], [("challenger",), (), ("champion",)])
    titles.give(version(1), CHAMPION)
    assert (holders(), held()) == ([1, None], [("champion",), (), ()])
    aliases = client.get_registered_model("bank").aliases
    assert set(aliases) == ({CHAMPION} if kind == "sqlite:" else set())
