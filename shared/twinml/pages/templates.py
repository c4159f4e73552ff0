"""The pages' templates and the one style sheet that they share."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from twinml.settings import __version__

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable
    from pathlib import Path

    from jinja2 import Environment

__all__ = ["environment", "render", "style_sheet"]

KIT = "twinml.pages"


def _breakable(name: str) -> str:
    """Return a name that a line may end in, between its words: ``Stack<wbr>Ensemble``."""
    from markupsafe import Markup

    words = re.split(r"(?<=[a-z])(?=[A-Z])", name)
    return Markup("<wbr>").join(words)


@cache
def environment(*folders: Path) -> Environment:
    """Return the templates in ``folders``, then those of the kit, in one environment.

    Every value is escaped; a name that a template uses and is not given is an error.
    """
    from jinja2 import ChoiceLoader, Environment, FunctionLoader, StrictUndefined

    def read(folder: Traversable) -> FunctionLoader:
        def load(name: str) -> str | None:
            file = folder.joinpath(name)
            return file.read_text(encoding="utf-8") if file.is_file() else None

        return FunctionLoader(load)

    made = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        loader=ChoiceLoader([read(folder) for folder in (*folders, files(KIT))]),
    )
    made.filters["breakable"] = _breakable
    made.globals["generator"] = f"twinml {__version__}"
    return made


def render(template: str, **values: Any) -> str:
    """Return the page that ``template``, a file of this package, makes of ``values``."""
    return environment().get_template(template).render(**values)


def style_sheet() -> str:
    """Return the style sheet of all pages, for those that do not hold it themselves."""
    return files(KIT).joinpath("style.css").read_text(encoding="utf-8")
