"""Charts as SVG, drawn by the server in the colours of the page: light, dark and printed.

Lines differ in dash as well as in colour, and each chart says in words what it shows, so that it
is read aloud and without colours. Points carry their values as tooltips.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from twinml.pages.wording import quantity, shorten

__all__ = ["Node", "Series", "bars", "graph", "lines", "ticks", "written"]

WIDTH, HEIGHT = 640, 226
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 12, 40
# Half of the widest text below the axis, in the size for a phone.
EDGE = 32
# Narrow, so that names can be read beside a form and on a phone.
BARS_WIDTH, BAR_LABEL, BAR_VALUE, BAR_HEIGHT = 440, 196, 66, 24
# Dots on more points than these would hide the line.
MOST_DOTS = 60
BOX_WIDTH, BOX_HEIGHT, GAP_ACROSS, GAP_DOWN = 168, 46, 44, 18


@dataclass(frozen=True)
class Series:
    """A line: its name, and its points ``(x, y)`` from left to right, or those alone (``dots``)."""

    name: str
    points: Sequence[tuple[float, float]]
    dots: bool = False


@dataclass(frozen=True)
class Node:
    """A box of a graph: its text, a second line, a state that styles it, and where it leads."""

    name: str
    label: str
    aside: str = ""
    state: str = ""
    href: str = ""


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round values from about ``low`` to about ``high``, at most ``most`` + 2 of them.

    Examples
    --------
    >>> ticks(0, 97)
    [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]
    >>> ticks(0.71, 0.74)
    [0.71, 0.72, 0.73, 0.74]
    >>> ticks(3, 3)
    [2.0, 2.5, 3.0, 3.5, 4.0]
    """
    if high <= low:
        low, high = low - 1, low + 1
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * one for one in (1, 2, 2.5, 5, 10) if power * one >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, 2 - math.floor(math.log10(step)))
    return [round(place * step, digits) for place in range(first, last + 1)]


def written(values: Sequence[float]) -> Callable[[float], str]:
    """Return what writes numbers on an axis with these ticks.

    Examples
    --------
    >>> [written(ticks(0.1965, 0.198))(0.197), written(ticks(0, 9000))(8000.0)]
    ['0.1970', '8,000']
    >>> written(ticks(0, 12))(7.5)
    '7.5'
    """
    step = values[1] - values[0]
    digits = max(0, math.ceil(-math.log10(step) - 1e-9))
    if round(step * 10**digits) != round(step * 10**digits, 6):
        digits += 1

    def text(value: float) -> str:
        return f"{value:,.{digits}f}".replace("-", "−")

    return text


def lines(
    series: Sequence[Series],
    *,
    title: str,
    x: str = "",
    y: str = "",
    x_text: Callable[[float], str] | None = None,
    x_step: float | None = None,
    y_text: Callable[[float], str] | None = None,
    from_zero: bool = False,
    steps: bool = False,
) -> Markup:
    """Return lines over a common axis; nothing where no series has a point.

    Parameters
    ----------
    series
        At most six are told apart; points that are not finite are left out.
    title
        What the chart shows, in a sentence.
    x, y
        Labels of the axes.
    x_text, y_text
        Write their values; by default with as many digits as the axis needs.
    x_step
        Between the ticks of the horizontal axis, where round numbers are not what is round there.
    from_zero
        Whether the vertical axis begins at 0.
    steps
        Whether a value holds until the next one, as a best so far does.
    """
    shown = [
        (one, [(a, b) for a, b in one.points if math.isfinite(a) and math.isfinite(b)])
        for one in series
    ]
    shown = [(one, points) for one, points in shown if points]
    if not shown:
        return Markup("")
    xs = [a for _, points in shown for a, _ in points]
    ys = [b for _, points in shown for _, b in points]
    rows = ticks(0.0 if from_zero else min(ys), max(ys))
    columns = ticks(min(xs), max(xs))
    if x_step is not None:
        first, last = math.ceil(min(xs) / x_step), math.floor(max(xs) / x_step)
        columns = [place * x_step for place in range(first, last + 1)]
    columns = [one for one in columns if min(xs) <= one <= max(xs)] or [xs[0]]
    low, high = rows[0], rows[-1]
    begin, end = min(xs), max(xs)
    x_text, y_text = x_text or written(ticks(begin, end)), y_text or written(rows)

    def across(value: float) -> float:
        share = 0.5 if end == begin else (value - begin) / (end - begin)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def up(value: float) -> float:
        return TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [_axis(rows, up, y_text)]
    for value in columns:
        place = across(value)
        anchor = "end" if place > WIDTH - EDGE else "middle"
        parts.append(
            Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
                place, HEIGHT - BOTTOM + 14, anchor, x_text(value)
            )
        )
    for number, (one, points) in enumerate(shown):
        places = [(across(a), up(b)) for a, b in points]
        path = f"M{places[0][0]:.1f} {places[0][1]:.1f}" + "".join(
            f"H{a:.1f}V{b:.1f}" if steps else f"L{a:.1f} {b:.1f}" for a, b in places[1:]
        )
        if not one.dots:
            parts.append(Markup('<path class="line s{}" d="{}"/>').format(number % 6, path))
        few = len(points) <= MOST_DOTS
        if few or one.dots:
            parts += [
                Markup('<circle class="dot s{}" cx="{:.1f}" cy="{:.1f}" r="{}">{}</circle>').format(
                    number % 6,
                    *place,
                    3 if few else 2,
                    _named(one.name, x_text(a), y_text(b)) if few else "",
                )
                for place, (a, b) in zip(places, points, strict=True)
            ]
    legend = Markup("").join(_legend(number % 6, one) for number, (one, _) in enumerate(shown))
    drawn = _svg(title, parts, WIDTH, HEIGHT, x=x, y=y)
    keys = Markup('<ul class="legend">{}</ul>').format(legend) if len(shown) > 1 else ""
    return drawn + keys


def bars(
    values: Mapping[str, float], *, title: str, text: Callable[[float], str] = quantity
) -> Markup:
    """Return horizontal bars, each with its name and value; nothing where there are none.

    Values below 0 go to the left of a common line.
    """
    if not values:
        return Markup("")
    least, most = min(0.0, *values.values()), max(0.0, *values.values())
    span = (most - least) or 1.0
    room = BARS_WIDTH - BAR_LABEL - BAR_VALUE
    zero = BAR_LABEL + (-least) / span * room
    parts = []
    for number, (name, value) in enumerate(values.items()):
        y = number * BAR_HEIGHT
        long = abs(value) / span * room
        parts.append(
            Markup(
                '<text class="label" x="{}" y="{}" text-anchor="end">{}<title>{}</title></text>'
                '<rect class="bar{}" x="{:.1f}" y="{}" width="{:.1f}" height="14"/>'
                '<text class="value" x="{}" y="{}">{}</text>'
            ).format(
                BAR_LABEL - 8,
                y + 15,
                shorten(name, 26),
                name,
                "" if value >= 0 else " below",
                zero - (long if value < 0 else 0),
                y + 4,
                max(long, 1.0),
                BARS_WIDTH - BAR_VALUE + 8,
                y + 15,
                text(value),
            )
        )
    return _svg(title, parts, BARS_WIDTH, len(values) * BAR_HEIGHT, kind="chart bars")


def graph(
    nodes: Sequence[Node], edges: Sequence[tuple[str, str]], *, title: str, across: bool = False
) -> Markup:
    """Return boxes and arrows: each box is below all that lead to it, or right of them.

    Parameters
    ----------
    nodes
        The boxes, by names that differ.
    edges
        From one name to another; those that would close a circle are drawn, but move no box.
    across
        Whether it goes from left to right.
    """
    if not nodes:
        return Markup("")
    depth = _depths([node.name for node in nodes], edges)
    layers: dict[int, list[str]] = {}
    for node in nodes:
        layers.setdefault(depth[node.name], []).append(node.name)
    widest = max(len(layer) for layer in layers.values())
    place: dict[str, tuple[float, float]] = {}
    for level, names in layers.items():
        for number, name in enumerate(names):
            along = number + (widest - len(names)) / 2
            place[name] = (
                (level * (BOX_WIDTH + GAP_ACROSS), along * (BOX_HEIGHT + GAP_DOWN))
                if across
                else (along * (BOX_WIDTH + GAP_DOWN), level * (BOX_HEIGHT + GAP_ACROSS))
            )
    parts = []
    for one, other in edges:
        if one in place and other in place:
            (x1, y1), (x2, y2) = place[one], place[other]
            start = (
                (x1 + BOX_WIDTH, y1 + BOX_HEIGHT / 2)
                if across
                else (x1 + BOX_WIDTH / 2, y1 + BOX_HEIGHT)
            )
            stop = (x2 - 4, y2 + BOX_HEIGHT / 2) if across else (x2 + BOX_WIDTH / 2, y2 - 4)
            bend = GAP_ACROSS / 2
            middle = (
                (start[0] + bend, start[1], stop[0] - bend, stop[1])
                if across
                else (start[0], start[1] + bend, stop[0], stop[1] - bend)
            )
            path = "M{:.0f} {:.0f}C{:.0f} {:.0f} {:.0f} {:.0f} {:.0f} {:.0f}".format(
                *start, *middle, *stop
            )
            parts.append(
                Markup('<path class="edge" d="{}" marker-end="url(#arrow)"/>').format(path)
            )
    for node in nodes:
        left, top = place[node.name]
        box = Markup(
            '<g class="node {}"><rect x="{:.0f}" y="{:.0f}" width="{}" height="{}" rx="6"/>'
            '<text x="{:.0f}" y="{:.0f}">{}</text>'
            '<text class="aside" x="{:.0f}" y="{:.0f}">{}</text>'
            "<title>{}</title></g>"
        ).format(
            node.state.lower(),
            *(left, top, BOX_WIDTH, BOX_HEIGHT, left + 10, top + 19, shorten(node.label, 22)),
            *(left + 10, top + 36, shorten(node.aside, 26), f"{node.label}: {node.aside}"),
        )
        parts.append(Markup('<a href="{}">{}</a>').format(node.href, box) if node.href else box)
    width = max(x for x, _ in place.values()) + BOX_WIDTH
    height = max(y for _, y in place.values()) + BOX_HEIGHT
    arrow = Markup(
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path class="head" d="M0 0L8 4L0 8z"/></marker></defs>'
    )
    return _svg(title, [arrow, *parts], width, height, kind="chart graph", natural=True)


def _depths(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Return how far each name is from those that nothing leads to."""
    depth = dict.fromkeys(names, 0)
    # No way without a circle has more edges than there are names.
    for _ in names:
        for one, other in edges:
            if one in depth and other in depth and one != other:
                depth[other] = min(max(depth[other], depth[one] + 1), len(names) - 1)
    used = sorted(set(depth.values()))
    return {name: used.index(level) for name, level in depth.items()}


def _legend(colour: int, one: Series) -> Markup:
    line = Markup('<path class="line s{}" d="M0 4H26"/>').format(colour)
    dot = Markup('<circle class="dot s{}" cx="13" cy="4" r="3"/>').format(colour)
    return Markup(
        '<li class="s{}"><svg class="key" viewBox="0 0 26 8" aria-hidden="true">{}</svg>{}</li>'
    ).format(colour, dot if one.dots else line, one.name)


def _named(name: str, x: str, y: str) -> Markup:
    return Markup("<title>{}: {}, {}</title>").format(name, x, y)


def _axis(
    rows: Sequence[float], up: Callable[[float], float], text: Callable[[float], str]
) -> Markup:
    return Markup("").join(
        Markup(
            '<path class="grid" d="M{} {:.1f}H{}"/>'
            '<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>'
        ).format(LEFT, up(value), WIDTH - RIGHT, LEFT - 6, up(value) + 4, text(value))
        for value in rows
    )


def _svg(
    title: str,
    parts: Sequence[Markup],
    width: float,
    height: float,
    *,
    x: str = "",
    y: str = "",
    kind: str = "chart",
    natural: bool = False,
) -> Markup:
    size = Markup(' width="{:.0f}" height="{:.0f}"').format(width, height) if natural else ""
    labels = Markup("")
    if x:
        labels += Markup('<text class="axis" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 4, x
        )
    caption = Markup('<p class="unit">{}</p>').format(y) if y else Markup("")
    # With links inside it is a group, not one picture.
    role = "group" if natural else "img"
    return caption + Markup(
        '<svg class="{}" viewBox="-2 -2 {:.0f} {:.0f}"{} role="{}" aria-label="{}">{}</svg>'
    ).format(kind, width + 4, height + 4, size, role, title, Markup("").join([*parts, labels]))
