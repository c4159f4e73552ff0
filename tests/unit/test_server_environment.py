"""Settings of the server from environment variables."""

import pytest

from twinml.errors import UsageError
from twinml_local.server import ServerSettings
from twinml_local.server.process.settings import with_environment


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, ServerSettings(workers=3)),
        ({"WORKER_COUNT": "2"}, ServerSettings(workers=2)),
        (
            {"WORKER_COUNT": "2", "TWINML_SERVER_WORKERS": "4"},
            ServerSettings(workers=4),
        ),
        (
            {"TWINML_SERVER_MAX_ROWS": "null", "TWINML_SERVER_MAX_BODY_BYTES": "1000"},
            ServerSettings(workers=3, max_rows=None, max_body_bytes=1000),
        ),
        (
            {"TWINML_SERVER_DOCUMENTS_NEED_KEY": "true", "TWINML_SERVER_COLLECT_RATE": "0.5"},
            ServerSettings(workers=3, documents_need_key=True, collect_rate=0.5),
        ),
        (
            {"AML_CORS_ORIGINS": "https://a.example, b.example"},
            ServerSettings(workers=3, cors_origins=("https://a.example", "b.example")),
        ),
        (
            {"TWINML_ALLOWED_HOSTS": "Model.example, *"},
            ServerSettings(workers=3, allowed_hosts=("model.example", "*")),
        ),
        (
            {"TWINML_ROOT_PATH": "/models/bank/"},
            ServerSettings(workers=3, root_path="/models/bank"),
        ),
    ],
)
def test_what_is_set(variables: dict[str, str], expected: ServerSettings) -> None:
    assert with_environment(ServerSettings(workers=3), variables) == expected


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WORKER_COUNT", "two"),
        ("WORKER_COUNT", "true"),
        ("WORKER_COUNT", "0"),
        ("TWINML_SERVER_MAX_BODY_BYTES", "null"),
        ("TWINML_SERVER_MAX_ROWS", "1.5"),
        ("TWINML_SERVER_OOD_SCORES", "1"),
        ("TWINML_ALLOWED_HOSTS", "https://model.example"),
        ("TWINML_ALLOWED_HOSTS", "a b"),
        ("TWINML_ROOT_PATH", "models"),
        ("TWINML_ROOT_PATH", "/a b"),
        ("TWINML_ROOT_PATH", "//evil.example"),
        ("TWINML_SERVER_COLLECT_RATE", "x"),
    ],
)
def test_what_cannot_be(variable: str, value: str) -> None:
    with pytest.raises(UsageError, match=variable):
        with_environment(ServerSettings(), {variable: value})
