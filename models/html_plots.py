"""Plots and tables of the card: inline SVG and plain HTML, nothing from outside, no script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT, EDGE = 680, 270, 52
TOP, BOTTOM = 34, 28
COLOURS = ("#1b6ca8", "#c0392b", "#7f8c8d", "#2c8c5a")
TICKS, SHOWN_LABELS = 4, 7
BAR, NAME_WIDTH = 18, 310
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;
color:#222}h2{border-bottom:2px solid #1b6ca8;margin-top:2.5rem}table{border-collapse:collapse;
margin:1rem 0;font-size:.85rem}td,th{padding:.15rem .55rem;text-align:right;
border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}svg{max-width:100%}
code{word-break:break-all;font-size:.8rem}.ours td{font-weight:600;background:#eef4f9}
.ok{color:#2c8c5a}.fail{color:#c0392b;font-weight:600}figcaption,.small{font-size:.85rem;color:#555}
figure{margin:1.2rem 0}.note{background:#f6f6f2;border-left:4px solid #c0392b;padding:.6rem 1rem}
@media print{h2{page-break-before:always}figure,table{page-break-inside:avoid}}"""


def table(names: Sequence[str], lines: Sequence[Sequence[str]], marked: Sequence[str] = ()) -> str:
    """Write a table; cells are HTML; lines whose first cell begins with a marked word stand out."""
    head = "".join(f"<th>{name}</th>" for name in names)
    body = []
    for line in lines:
        stands_out = any(line[0].startswith(word) for word in marked)
        cells = "".join(f"<td>{cell}</td>" for cell in line)
        body.append(f'<tr class="ours">{cells}</tr>' if stands_out else f"<tr>{cells}</tr>")
    return f"<table><tr>{head}</tr>{''.join(body)}</table>"


def figure(
    title: str,
    series: Mapping[str, Points],
    *,
    said: str,
    dots: bool = False,
    labels: Sequence[str] = (),
) -> str:
    """Draw lines (or, of the first series, dots) with axes that begin at 0.

    `labels` name the places 0, 1, 2, … of the horizontal axis; some of them are written.
    """
    every = [point for points in series.values() for point in points]
    right = max([1e-9, *(x for x, _ in every)])
    top = 1.05 * max([1e-9, *(y for _, y in every)])
    drawn, legend = [], []
    for place, (name, points) in enumerate(series.items()):
        colour = COLOURS[place % len(COLOURS)]
        at = [(_x(x, right), _y(y, top)) for x, y in points]
        if dots and place == 0:
            drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in at]
        else:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
            drawn.append(
                f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>'
            )
        spot = EDGE + 8 + 200 * place
        legend.append(f'<text x="{spot}" y="16" fill="{colour}">{escape(name)}</text>')
    below = _named(labels, right) if labels else _numbered(right)
    return (
        f"<figure><h3>{escape(title)}</h3>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}" '
        f'font-size="12">{_upright(top)}{below}{"".join(drawn)}{"".join(legend)}</svg>'
        f"<figcaption>{escape(said)}</figcaption></figure>"
    )


def bars(values: Sequence[tuple[str, float, float]], kinds: tuple[str, str]) -> str:
    """Draw two bars a name, in shares; the names in their order."""
    longest = max([1e-12, *(max(one, other) for _, one, other in values)])
    rows = [
        f'<text x="{NAME_WIDTH + 10 + 170 * place}" y="12" fill="{COLOURS[place]}">'
        f"{escape(kind)}</text>"
        for place, kind in enumerate(kinds)
    ]
    for place, (name, *pair) in enumerate(values):
        y = BAR * (place + 1)
        rows.append(f'<text x="{NAME_WIDTH}" y="{y + 13}" text-anchor="end">{escape(name)}</text>')
        rows += [
            f'<rect x="{NAME_WIDTH + 6}" y="{y + 3 + 6 * line}" height="5" '
            f'width="{340 * value / longest:.1f}" fill="{COLOURS[line]}"/>'
            for line, value in enumerate(pair)
        ]
    height = BAR * (len(values) + 1) + 6
    return f'<svg viewBox="0 0 {WIDTH} {height}" font-size="12">{"".join(rows)}</svg>'


def _upright(top: float) -> str:
    parts = [f'<path d="M{EDGE} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - 8}" fill="none" stroke="#999"/>']
    for value in _round_values(top):
        y = _y(value, top)
        parts.append(
            f'<path d="M{EDGE} {y:.1f}H{WIDTH - 8}" stroke="#eee"/>'
            f'<text x="{EDGE - 4}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    return "".join(parts)


def _numbered(right: float) -> str:
    return "".join(
        f'<text x="{_x(value, right):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{value:g}</text>'
        for value in _round_values(right)
    )


def _round_values(top: float) -> list[float]:
    """Return 0 and a few round numbers up to `top`: steps of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(top / TICKS))
    step = next(power * each for each in (1.0, 2.0, 5.0, 10.0) if power * each >= top / TICKS)
    return [round(step * place, 12) for place in range(int(top / step) + 1)]


def _named(labels: Sequence[str], right: float) -> str:
    step = max(-(-len(labels) // SHOWN_LABELS), 1)
    return "".join(
        f'<text x="{_x(float(place), right):.1f}" y="{HEIGHT - 8}" '
        f'text-anchor="middle">{escape(labels[place])}</text>'
        for place in range(0, len(labels), step)
    )


def _x(value: float, right: float) -> float:
    return EDGE + (WIDTH - EDGE - 30) * value / right


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top
