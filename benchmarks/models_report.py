"""The figures of `benchmarks.models` as tables on standard output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.passages import show_chances

Lines = Sequence[Mapping[str, Any]]

TAIL_COLUMNS = {
    "breaches": ("breaches %", 100.0, 3),
    "average": ("average %", 100.0, 2),
    "average_at_our_breaches": ("at ours %", 100.0, 2),
    "pinball": ("pinball e-4", 1e4, 2),
    "worst_year": ("worst year %", 100.0, 2),
    "basel_green": ("green %", 100.0, 0),
    "dm_ours_against": ("DM t", 1.0, 2),
}
CLOSE_OUT_COLUMNS = (
    "long_breaches",
    "short_breaches",
    "long_average",
    "short_average",
    "long_breaches_online",
    "short_breaches_online",
    "long_average_online",
    "short_average_online",
)


def show(report: Mapping[str, Any]) -> None:
    """Print every table that the report holds."""
    for name in ("24h", "4h"):
        _show_qlike(name, report[f"qlike_{name}"])
        _show_tails(name, report[f"tails_{name}"])
        for line in report[f"tiers_{name}"]:
            print("  ", _rounded(line))
        _show_sets(report[f"sets_{name}"])
        _show_breakdown(report[f"breakdown_{name}"])
    print("\nQLIKE, 1 h, Bitfinex BTC and ETH, 2018-19:", _rounded(report["short_horizon"]))
    if "close_out_2025" in report:
        show_chances(report["chances"])
        _show_close_out(report["close_out_2025"])
        print("\nprocyclicality, daily, 15-minute tail, mean over coins:")
        for name, figures in report["cycle"].items():
            print(f"  {name:12}", _rounded(figures))
        print("\nspeed:", report["speed"])
    took = f"{report['seconds']} s, of a processor {report['cpu_seconds']} s"
    print(f"\n{took}, peak memory {report['peak_memory_mb']} MB")


def _show_qlike(name: str, table: Mapping[str, Mapping[str, Any]]) -> None:
    print(f"\nQLIKE, {name}")
    for model, figures in table.items():
        print(f"  {model:32}", _rounded(figures))


def _show_tails(name: str, lines: Lines) -> None:
    print(f"\ntail quantiles, {name} (before buffer, floor, slippage and fee)")
    titles = "".join(f"{title:>13}" for title, _, _ in TAIL_COLUMNS.values())
    print(f"  {'model':32}{'side':6}{'rows':>7} Kupiec Christ.{titles}")
    for line in lines:
        cells = "".join(
            f"{'':>13}" if line[key] is None else f"{scale * line[key]:13.{digits}f}"
            for key, (_, scale, digits) in TAIL_COLUMNS.items()
        )
        counts = f"{line['kupiec']:4}/{line['symbols']}{line['christoffersen']:5}/{line['symbols']}"
        print(f"  {line['model']:32}{line['side']:6}{line['rows']:7}{counts}{cells}")


def _show_sets(table: Mapping[str, Mapping[str, float]]) -> None:
    for name, values in table.items():
        print(f"  {name}:", _rounded(values))


def _show_breakdown(lines: Lines) -> None:
    for side in ("long", "short"):
        own = [line for line in lines if line["side"] == side]
        print(f"  {side} breaches %:", {ln["group"]: round(100 * ln["breaches"], 2) for ln in own})
        low, high = own[0]["low"], own[0]["high"]
        print(f"    95 % interval of all: {100 * low:.2f} to {100 * high:.2f}")


def _show_close_out(table: Lines) -> None:
    print("\nshipped artifact, 15 min at 99.5 %, perpetuals of 2025 (never trained on), per cent")
    print("  symbol", *CLOSE_OUT_COLUMNS)
    for line in table:
        cells = "".join(f"{100 * line[name]:8.2f}" for name in CLOSE_OUT_COLUMNS)
        print(f"  {line['symbol']:18}{line['rows']:6}{cells}")
    for place in range(len(table[0]["sizes"])):
        sizes = [line["sizes"][place] for line in table]
        names = ("breaches", "maintenance", "tier_breaches", "tier_maintenance")
        known = {key: [size[key] for size in sizes if size[key] is not None] for key in names}
        worst = {key: max(known[key]) for key in ("breaches", "tier_breaches")}
        means = {key: sum(values) / len(values) for key, values in known.items()}
        notional = f"{sizes[0]['notional']:,.0f}"
        print(f"  {notional:>12} worst", _rounded(worst), "mean", _rounded(means))


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in values.items()
    }
