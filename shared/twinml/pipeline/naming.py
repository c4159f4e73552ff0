"""What a pipeline is called whose name nobody gives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["default_name", "name_of_file"]


def default_name(content: Mapping[str, Any], path: Path) -> str:
    """Return its ``name``, else its ``display_name``, else that of its file or folder.

    Examples
    --------
    >>> default_name({"display_name": "train and score"}, Path("a/pipeline.yml"))
    'train-and-score'
    >>> default_name({}, Path("a/pipeline.yml")), default_name({}, Path("a/b.yml"))
    ('a', 'b')
    """
    found = content.get("name") or content.get("display_name")
    text = str(found or (path.parent.name if path.stem == "pipeline" else path.stem))
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[:64] or "pipeline"


def name_of_file(path: Path) -> str:
    """Return ``default_name`` of a YAML file; what it cannot be read for is said elsewhere."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        content = None
    return default_name(content if isinstance(content, dict) else {}, path.resolve())
