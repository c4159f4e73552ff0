"""Addresses of models in MLflow's pages."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from twinml.errors import UsageError

__all__ = ["of_address"]

_PAGES = (
    (re.compile(r"/models/([^/?]+)/versions/([0-9]+)"), "models:/{}/{}"),
    (re.compile(r"/models/([^/?]+)"), "models:/{}"),
    (re.compile(r"/experiments/[0-9]+/runs/([0-9a-f]{32})/artifacts/([^?]+)"), "runs:/{}/{}"),
    (re.compile(r"/experiments/[0-9]+/runs/([0-9a-f]{32})"), "runs:/{}/model"),
)


def of_address(source: str) -> tuple[str, str | None]:
    """Return what an address of MLflow's pages shows, and the server that it is of.

    Anything else comes back as it is, with ``None``.

    Raises
    ------
    UsageError
        The address holds a password, or shows no model.

    Examples
    --------
    >>> of_address("http://mlflow.local:5000/#/models/churn/versions/3")
    ('models:/churn/3', 'http://mlflow.local:5000')
    >>> of_address("models:/churn/3")
    ('models:/churn/3', None)
    """
    if not source.startswith(("http://", "https://")):
        return source, None
    parts = urlsplit(source)
    if parts.username or parts.password:
        raise UsageError(
            "the address holds a user or a password, which all processes of this machine can read",
            hint="Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.",
        )
    server = parts._replace(path=parts.path.rstrip("/"), query="", fragment="").geturl()
    for page, reference in _PAGES:
        found = page.match(parts.fragment)
        if found:
            return reference.format(*(unquote(each) for each in found.groups())), server
    raise UsageError(
        f"{parts.netloc} shows no model under '{parts.fragment or parts.path}'",
        hint="Copy the address of a version from MLflow's pages, or write models:/NAME/VERSION "
        "--registry ADDRESS.",
    )
