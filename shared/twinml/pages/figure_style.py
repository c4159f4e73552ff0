"""What all pictures share: one width, one type size, one colour-blind-safe palette.

A function that draws is decorated with ``drawn`` and gives the bytes of a PNG. No global state
of matplotlib is touched beyond a style that ends with the call::

    @drawn
    def latencies(values: NDArray[np.float64]) -> Figure:
        figure, axes = canvas(height=3.0)
        axes.hist(values, color=BLUE)
        return figure
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "BLUE",
    "DASHES",
    "DPI",
    "GREY",
    "HEAT",
    "INK",
    "MUTED",
    "ORANGE",
    "PALETTE",
    "RULE",
    "WIDTH",
    "canvas",
    "drawn",
]

P = ParamSpec("P")

WIDTH = 4.4
DPI = 150
COLOURS = 128
INK = "#1f2328"
MUTED = "#5c636b"
RULE = "#d0d4d9"
BLUE = "#0067a5"
ORANGE = "#b85000"
GREY = "#a9b4be"
# Dark enough to be read as text on white, apart in lightness as well as in hue.
PALETTE = (BLUE, ORANGE, "#00795c", "#96407f", "#7a5c00", "#3f454c")
DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2)), (0, (4, 1)), ":")
HEAT = LinearSegmentedColormap.from_list("twinml", ("#ffffff", "#b9d6ea", "#0067a5", "#003e66"))

STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9.5,
    "axes.edgecolor": RULE,
    "axes.linewidth": 0.9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e9ecef",
    "grid.linewidth": 0.8,
    "text.color": INK,
    # A column may be called "$price$": its name is not mathematics.
    "text.parse_math": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "legend.labelcolor": "linecolor",
    "legend.handlelength": 1.8,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


@contextmanager
def _style() -> Iterator[None]:
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # Names in scripts that the bundled font lacks are drawn as boxes; the tables carry them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def drawn(draw: Callable[P, Figure]) -> Callable[P, bytes]:
    """Run ``draw`` in the common style and return its figure as PNG bytes."""

    def picture(*args: P.args, **kwargs: P.kwargs) -> bytes:
        with _style():
            figure = draw(*args, **kwargs)
            figure.set_dpi(DPI)
            # Drawn once: savefig draws a figure with a layout twice.
            agg = FigureCanvasAgg(figure)
            agg.draw()  # type: ignore[no-untyped-call]
            size, pixels = agg.get_width_height(physical=True), agg.buffer_rgba()  # type: ignore[no-untyped-call]
            picture = Image.frombuffer("RGBA", size, pixels, "raw", "RGBA", 0, 1).convert("RGB")
            target = io.BytesIO()
            # A palette makes the file a third: pictures of few colours lose nothing to be seen.
            picture.quantize(COLOURS, dither=Image.Dither.NONE).save(target, "PNG", optimize=True)
        return target.getvalue()

    picture.__name__ = draw.__name__
    picture.__doc__ = draw.__doc__
    return picture


def canvas(height: float) -> tuple[Figure, Axes]:
    """Return a figure of the common width, ``height`` inches high, with one pair of axes."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()
