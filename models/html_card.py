"""A model's card as one HTML page that needs nothing else: plots are inline SVG, no script.

What it says comes from the artifact and from reports of `aml models evaluate`; a plot without its
figures is left out, and the page says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from models.artifact import LoadedModel
from models.manifest import Manifest
from models.scorer import HORIZONS_S

Report = Mapping[str, Any]
Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT, EDGE = 640, 260, 46
COLOURS = ("#1b6ca8", "#c0392b", "#7f8c8d")
TICKS = 4
SHOWN_ASSETS, SHOWN_FEATURES = 40, 15
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color:#222}table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .7rem;text-align:right;
border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}svg{max-width:100%}
code{word-break:break-all}
.note{background:#f6f6f2;border-left:4px solid #c0392b;padding:.6rem 1rem}"""


def html_card(model: LoadedModel, reports: Sequence[Report]) -> str:
    """Write the page."""
    name = model.model_hash.hex()
    parts = [_origin(name, model.manifest)]
    parts += [_judged(report) for report in reports]
    if not reports:
        parts.append('<p class="note">No evaluation was given: this page shows origin only.</p>')
    parts.append(_importance(model))
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>Risk model {name[:12]}</title><style>{STYLE}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def _origin(name: str, manifest: Manifest) -> str:
    files = "".join(
        f"<li>{escape(file)} <code>{escape(digest)}</code></li>"
        for digest, file in manifest.data_files.items()
    )
    metrics = _table(
        ("measured in training", "value"),
        [(key, f"{value:.6g}") for key, value in sorted(manifest.metrics.items())],
    )
    return f"""<h1>Risk model {name[:12]}</h1>
<p>Model hash <code>{name}</code>; features of version {manifest.feature_version};
seed {manifest.seed}; horizons {", ".join(f"{h // 60} min" for h in HORIZONS_S)}.</p>
<h2>What it was trained on</h2>
<p>Bars from {escape(manifest.trained_from[:10])} that open before
{escape(manifest.trained_before[:10])}, of {len(manifest.symbols)} markets:
{escape(", ".join(manifest.symbols))}.</p><ul>{files}</ul>{metrics}
<p class="note">Account risk, where it is used, is fitted to a simulated trader population: no
real account has been seen. Slippage without a book follows the square-root law.</p>"""


def _judged(report: Report) -> str:
    """Show one evaluation."""
    promise = 1.0 - float(report["level"])
    file, losses = report["candles"], report["qlike"]
    head = f"""<h2>Judged on {escape(str(file["name"]))}, {report["horizon_s"] // 60} min</h2>
<p>{report["rows"]} outcomes of {report["markets"]} markets; {report["refused_share"]:.2%} were out
of the model's domain. QLIKE {losses["ours"]:.4f}; that of an EWMA {losses["ewma"]:.4f} (lower is
better). File <code>{escape(str(file["sha256"]))}</code>.</p>"""
    lines = []
    for side, line in report["sides"].items():
        lines.append(
            (
                f"ours, {side}",
                f"{line['breach_share']:.2%}",
                f"{line['kupiec_passed']}/{line['symbols']}",
                f"{line['christoffersen_passed']}/{line['symbols']}",
                f"{line['average']:.2%}",
                f"{line['worst_year_share']:.2%}",
            )
        )
        lines += [
            (
                f"{escape(each['model'])}, {side}",
                f"{each[side]['breach_share']:.2%}",
                f"{each[side]['kupiec_passed']}/{each[side]['symbols']}",
                f"{each[side]['christoffersen_passed']}/{each[side]['symbols']}",
                f"{each[side]['average']:.2%} ({each[side + '_ours']['average']:.2%})",
                f"{each[side]['worst_year_share']:.2%}",
            )
            for each in report["baselines"]
            if each["rows"]
        ]
    names = ("", "breaches", "Kupiec", "Christoffersen", "average", "worst year")
    said = (
        "Baselines walk forward inside the file; in brackets, ours on the rows that they forecast."
    )
    parts = [head, f"<p>Promised: {promise:.2%} breaches. {said}</p>", _table(names, lines)]
    parts += [_calibration(report), _breaches(report, promise)]
    parts += [_caps(crisis) for crisis in report.get("caps", ())]
    parts.append(_assets(report))
    return "\n".join(parts)


def _calibration(report: Report) -> str:
    pairs = [(float(b["forecast"]), float(b["realised"])) for b in report["buckets"]]
    top = max(max(pair) for pair in pairs)
    series = {"tenths of the forecast": pairs, "perfect": [(0.0, 0.0), (top, top)]}
    return _figure("Calibration: forecast and realised deviation", series, dots=True)


def _breaches(report: Report, promise: float) -> str:
    months = report["months"]
    series: dict[str, Points] = {
        side: [(float(place), 100.0 * month[side]) for place, month in enumerate(months)]
        for side in ("long", "short")
    }
    series["promised"] = [(0.0, 100.0 * promise), (float(len(months) - 1), 100.0 * promise)]
    span = f"{months[0]['month']} to {months[-1]['month']}"
    return _figure(f"Breaches by month, %, {span}", series)


def _caps(crisis: Report) -> str:
    """Show caps through a crisis beside the static tiers in force."""
    series = {
        name: [(float(place), float(cap)) for place, cap in enumerate(crisis[name])]
        for name in ("ours", "tiers")
        if crisis.get(name)
    }
    return _figure(f"Leverage cap, {crisis['name']}", series)


def _assets(report: Report) -> str:
    ranked = sorted(report["assets"], key=lambda each: (-each["long"], each["symbol"]))
    lines = [
        (
            escape(each["symbol"]),
            str(each["rows"]),
            f"{each['long']:.2%}",
            f"{each['short']:.2%}",
            f"{each['average']:.2%}",
        )
        for each in ranked[:SHOWN_ASSETS]
    ]
    title = f"<h3>By asset, worst first ({len(lines)} of {len(ranked)})</h3>"
    return title + _table(("market", "rows", "long", "short", "average long quantile"), lines)


def _importance(model: LoadedModel) -> str:
    """Show what moves the forecast of 24 h: weights of the linear part, splits of the trees."""
    head = model.scorer._model.heads[-1]  # noqa: SLF001 - the scorer shows scores only
    weights = np.abs(head.forecast.linear_.coefficients_)
    trees = head.forecast.boosting_.trees_
    inner = trees.left != np.arange(trees.left.shape[1])[None, :]
    splits = np.bincount(trees.feature[inner], minlength=len(head.names)).astype(np.float64)
    shares = [weights / max(weights.sum(), 1e-12), splits / max(splits.sum(), 1e-12)]
    order = np.argsort(-(shares[0] + shares[1]), kind="stable")[:SHOWN_FEATURES]
    lines = [
        (escape(head.names[place]), f"{shares[0][place]:.1%}", f"{shares[1][place]:.1%}")
        for place in order
    ]
    return (
        "<h2>What the forecast of the longest horizon reads</h2>"
        + _bars(
            [(head.names[place], float(shares[0][place] + shares[1][place])) for place in order]
        )
        + _table(("feature", "weight in the linear part", "splits of the trees"), lines)
    )


def _table(names: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in line) + "</tr>" for line in lines
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _figure(title: str, series: Mapping[str, Points], *, dots: bool = False) -> str:
    """Draw lines (or, of the first series, dots) with axes that begin at 0."""
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
        spot = EDGE + 8 + 170 * place
        legend.append(f'<text x="{spot}" y="14" fill="{colour}">{escape(name)}</text>')
    return (
        f"<h3>{escape(title)}</h3>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}" '
        f'font-size="12">{_axes(right, top)}{"".join(drawn)}{"".join(legend)}</svg>'
    )


def _axes(right: float, top: float) -> str:
    parts = [f'<path d="M{EDGE} 20V{HEIGHT - 24}H{WIDTH - 8}" fill="none" stroke="#999"/>']
    for tick in range(TICKS + 1):
        x, y = right * tick / TICKS, top * tick / TICKS
        parts.append(
            f'<text x="{EDGE - 4}" y="{_y(y, top) + 4:.1f}" text-anchor="end">{y:.3g}</text>'
        )
        parts.append(
            f'<text x="{_x(x, right):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{x:.3g}</text>'
        )
    return "".join(parts)


def _bars(values: Sequence[tuple[str, float]]) -> str:
    """Draw one bar a value, longest first."""
    longest = max([1e-12, *(value for _, value in values)])
    rows = []
    for place, (name, value) in enumerate(values):
        y = 18 * place
        rows.append(
            f'<text x="190" y="{y + 13}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="196" y="{y + 3}" width="{420 * value / longest:.1f}" height="12" '
            f'fill="{COLOURS[0]}"/>'
        )
    return f'<svg viewBox="0 0 {WIDTH} {18 * len(values)}" font-size="12">{"".join(rows)}</svg>'


def _x(value: float, right: float) -> float:
    return EDGE + (WIDTH - EDGE - 12) * value / right


def _y(value: float, top: float) -> float:
    return HEIGHT - 24 - (HEIGHT - 48) * value / top
