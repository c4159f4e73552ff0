"""The pages' templates and the one style sheet that they share."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

from twinml.settings import __version__

__all__ = ["render"]


def _breakable(name: str) -> str:
    """Return a name that a line may end in, between its words: ``Stack<wbr>Ensemble``."""
    from markupsafe import Markup

    words = re.split(r"(?<=[a-z])(?=[A-Z])", name)
    return Markup("<wbr>").join(words)


def render(template: str, **values: Any) -> str:
    """Return the page that ``template``, a file of this package, makes of ``values``.

    Every value is escaped; a name that the template uses and ``values`` lacks is an error.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = files("twinml.pages")
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
    )
    environment.filters["breakable"] = _breakable
    environment.globals["generator"] = f"twinml {__version__}"
    return environment.get_template(template).render(**values)
