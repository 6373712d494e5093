"""A model's card as one HTML page that needs nothing else: what a risk committee reads.

What it says comes from the artifact and from reports of `aml models evaluate`; a plot without its
figures is left out, and the page says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from models.artifact import LoadedModel
from models.card_words import column_words, measure_words, span_words, walked_lines
from models.html_plots import STYLE, Points, bars, figure, table
from models.manifest import Manifest
from models.recorded_risks import ACCOUNTS
from models.registry import PromotionRefused, gates
from models.scorer import HORIZONS_S
from models.side_by_side import read_back
from models.walked import WALKED

Report = Mapping[str, Any]

SHOWN_ASSETS, SHOWN_FEATURES = 40, 15
USE = """\
<p>Volatility, tails of adverse excursions and liquidity of crypto markets, from which leverage
caps, margins and warnings follow. One pooled model: a market it has never seen is scored by it,
and wider while its history is short. It is not for stablecoins, nor for anything that does not
trade around the clock: such markets are out of its domain and held.</p>
<p class="note">{accounts} Slippage without a book follows the square-root law and is not fitted
to fills.</p>"""
JUDGED_COLUMNS = (
    "",
    "QLIKE",
    "breaches",
    "Kupiec",
    "Christoffersen",
    "Basel green",
    "average",
    "pinball e-4",
    "peak/trough",
    "5-day rise",
    "worst year",
)
READING = """\
<p class="small">Breaches: share of outcomes beyond the quantile, to be near the promise. Kupiec
and Christoffersen: markets whose share, and whose clustering, the test does not reject. Basel
green: windows of 250 outcomes with no more breaches than chance allows. Average: the mean margin
that the quantile asks for; less is cheaper at the same breaches. Pinball and QLIKE: losses, lower
is better. Peak/trough and 5-day rise: how far margins swing. Each baseline forecasts only the
rows it can; “ours there” is ours on the same rows.</p>"""


WALK = """\
<h3>The recipe, walked forward</h3>
<p class="small">Refitted each month and judged on what followed: 4 h and 24 h on 11 coins over
2020-01 to 2023-06, 1 h on two over 2018 and 2019, on which it was developed. Not of these
parameters, which have since learned from these years too (docs/evaluation.md).</p>"""
WALK_COLUMNS = ("horizon", "QLIKE", "side", "promised", "breaches", "average", "pinball e-4")


def html_card(model: LoadedModel, reports: Sequence[Report]) -> str:
    """Write the page."""
    name, reports = model.model_hash.hex(), [read_back(report) for report in reports]
    parts = [_head(name, model.manifest, reports)]
    parts += [_judged(report) for report in reports]
    if not reports:
        parts.append('<p class="note">No evaluation was given: this page shows origin only.</p>')
    parts += [_importance(model), _origin(name, model.manifest)]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"/>'
        f"<title>Risk model {name[:12]}</title><style>{STYLE}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def _head(name: str, manifest: Manifest, reports: Sequence[Report]) -> str:
    """Say what the model is for, and whether it passes the gates of promotion."""
    first, before = manifest.trained_from[:10], manifest.trained_before[:10]
    horizons = ", ".join(span_words(horizon_s) for horizon_s in HORIZONS_S)
    origin = f"""<h1>Risk model {name[:12]}</h1>
<p>Trained on {len(manifest.symbols)} markets, bars from {escape(first)} that open before
{escape(before)}; horizons {horizons}.</p>"""
    parts = [origin, USE.format(accounts=_accounts(manifest)), _walked(manifest)]
    parts += [_gates(report) for report in reports]
    return "\n".join(parts)


def _walked(manifest: Manifest) -> str:
    """Show what the recipe did where it was judged, if the artifact carries these figures."""
    lines = walked_lines(manifest)
    return WALK + table(WALK_COLUMNS, lines) if lines else ""


def _accounts(manifest: Manifest) -> str:
    """Say whom account risk is fitted to."""
    simulated = "Account risk is fitted to a simulated trader population"
    count = int(manifest.metrics.get(ACCOUNTS, 0.0))
    if not count:
        return f"{simulated}: no real account has been seen."
    return f"{simulated} and to {count} accounts of a journal."


def _gates(report: Report) -> str:
    """Show the gates of promotion on one evaluation."""
    where = f"{escape(str(report['candles']['name']))}, {span_words(report['horizon_s'])}"
    try:
        found = gates(report)
    except PromotionRefused as fault:
        return f'<h3>Gates on {where}</h3><p class="fail">{escape(str(fault))}</p>'
    lines = [
        (
            escape(gate.name),
            f"{gate.measured:,.0f}" if gate.measured >= 1_000.0 else f"{gate.measured:.3g}",
            escape(gate.limit),
            '<span class="ok">passed</span>' if gate.passed else '<span class="fail">FAILED</span>',
        )
        for gate in found
    ]
    failed = sum(not gate.passed for gate in found)
    verdict = "all passed" if not failed else f"{failed} of {len(found)} failed"
    return f"<h3>Gates on {where}: {verdict}</h3>" + table(("gate", "measured", "limit", ""), lines)


def _origin(name: str, manifest: Manifest) -> str:
    files = "".join(
        f"<li>{escape(file)} <code>{escape(digest)}</code></li>"
        for digest, file in manifest.data_files.items()
    )
    versions = ", ".join(f"{key} {value}" for key, value in manifest.library_versions.items())
    lines = [
        (escape(measure_words(key)), f"{value:,.0f}" if value >= 1_000.0 else f"{value:.4g}")
        for key, value in sorted(manifest.metrics.items())
        if not key.startswith(WALKED)
    ]
    return f"""<h2>What it was trained on</h2>
<p>Model hash <code>{name}</code>; features of version {manifest.feature_version};
seed {manifest.seed}; {escape(versions)}.</p>
<p>Markets: {escape(", ".join(manifest.symbols))}.</p><ul>{files}</ul>
{table(("measured in training", "value"), lines)}"""


def _judged(report: Report) -> str:
    """Show one evaluation."""
    promise = 1.0 - float(report["level"])
    file, losses = report["candles"], report["qlike"]
    head = f"""<h2>Judged on {escape(str(file["name"]))}, {span_words(report["horizon_s"])}</h2>
<p>{report["rows"]} outcomes of {report["markets"]} markets; {report["refused_share"]:.2%} were out
of the model's domain. QLIKE {losses["ours"]:.4f}; that of an EWMA {losses["ewma"]:.4f}.
Promised: {promise:.2%} breaches. File <code>{escape(str(file["sha256"]))}</code>.</p>"""
    parts = [head]
    for side, line in report["sides"].items():
        lines = [_line("ours", losses["ours"], line)]
        for each in report["baselines"]:
            if each["rows"]:
                lines.append(_line(escape(each["model"]), each.get("qlike"), each[side]))
                there = (each.get("qlike_ours"), each[f"{side}_ours"])
                lines.append(_line("&#160;&#160;ours there", *there))
        parts += [f"<h3>{escape(side.capitalize())} side</h3>"]
        parts += [table(JUDGED_COLUMNS, lines, marked=("ours",))]
    absent = [escape(each["model"]) for each in report["baselines"] if not each["rows"]]
    if absent:
        parts.append(f'<p class="small">No forecast in this file: {", ".join(absent)}.</p>')
    parts += [READING, _calibration(report), _tenths(report, promise), _months(report, promise)]
    parts += [_caps(crisis) for crisis in report.get("caps", ())]
    parts.append(_assets(report))
    return "\n".join(parts)


def _line(name: str, loss: float | None, line: Report) -> tuple[str, ...]:
    symbols = line["symbols"]
    return (
        name,
        "" if loss is None else f"{loss:.4f}",
        f"{line['breach_share']:.2%}",
        f"{line['kupiec_passed']}/{symbols}",
        f"{line['christoffersen_passed']}/{symbols}",
        f"{line['basel_green']:.0%}",
        f"{line['average']:.2%}",
        f"{1e4 * line['pinball']:.2f}",
        f"{line['peak_to_trough']:.1f}",
        f"{line['five_day_rise']:+.0%}",
        f"{line['worst_year_share']:.2%}",
    )


def _calibration(report: Report) -> str:
    pairs = [(100.0 * b["forecast"], 100.0 * b["realised"]) for b in report["buckets"]]
    top = max(max(pair) for pair in pairs)
    series = {"tenths of the forecast": pairs, "perfect": [(0.0, 0.0), (top, top)]}
    said = "Forecast deviation in % (across) and realised (up); dots above the line: too low."
    title = "Calibration: forecast and realised deviation"
    return figure(title, series, said=said, dots=True)


def _tenths(report: Report, promise: float) -> str:
    """Show whether calm and stormy forecasts keep the promise alike."""
    buckets = report["buckets"]
    series: dict[str, Points] = {
        side: [(float(place), 100.0 * each[side]) for place, each in enumerate(buckets)]
        for side in ("long", "short")
    }
    series["promised"] = [(0.0, 100.0 * promise), (float(len(buckets) - 1), 100.0 * promise)]
    labels = [f"{100.0 * each['forecast']:.1f} %" for each in buckets]
    said = "Share of outcomes beyond the quantile, in %, by tenths of the forecast deviation."
    title = "Breaches from the calmest to the stormiest tenth"
    return figure(title, series, said=said, labels=labels)


def _months(report: Report, promise: float) -> str:
    months = report["months"]
    series: dict[str, Points] = {
        side: [(float(place), 100.0 * month[side]) for place, month in enumerate(months)]
        for side in ("long", "short")
    }
    series["promised"] = [(0.0, 100.0 * promise), (float(len(months) - 1), 100.0 * promise)]
    said = "Share of outcomes beyond the quantile, in %, month by month."
    labels = [month["month"] for month in months]
    return figure("Breaches over time", series, said=said, labels=labels)


def _caps(crisis: Report) -> str:
    """Show caps through a crisis beside the static tiers in force."""
    series = {
        words: [(float(place), float(cap)) for place, cap in enumerate(crisis[name])]
        for name, words in (("ours", "our cap"), ("tiers", "exchange's tier"))
        if crisis.get(name)
    }
    tiers = "" if crisis.get("tiers") else " No tier of the given snapshots was in force."
    said = f"Leverage (times), from the policy at a liquidation of a million.{tiers}"
    labels = crisis.get("labels", ())
    return figure(f"Cap through a crisis: {crisis['name']}", series, said=said, labels=labels)


def _assets(report: Report) -> str:
    promise = 1.0 - float(report["level"])
    ranked = sorted(
        report["assets"], key=lambda each: (-max(each["long"], each["short"]), each["symbol"])
    )
    lines = [
        (
            escape(each["symbol"]),
            str(each["rows"]),
            *(_flagged(each[side], promise) for side in ("long", "short")),
            f"{each['average']:.2%}",
        )
        for each in ranked[:SHOWN_ASSETS]
    ]
    title = f"<h3>By asset, worst first ({len(lines)} of {len(ranked)})</h3>"
    names = ("market", "rows", "long breaches", "short breaches", "average long quantile")
    return title + table(names, lines)


def _flagged(share: float, promise: float) -> str:
    words = f"{share:.2%}"
    return f'<span class="fail">{words}</span>' if share > 2.0 * promise else words


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
        (column_words(head.names[place]), float(shares[0][place]), float(shares[1][place]))
        for place in order
    ]
    kinds = ("weight in the linear part", "splits of the trees")
    return f"""<h2>What the forecast of the longest horizon reads</h2>
<p class="small">Shares of all weights and of all splits; the 15 columns with the largest. Without
“all markets” a column is the market's own. Hours of day and week stand as two waves each.</p>
{bars(lines, kinds)}"""
