"""A model's card: one page that says what it was trained on and what it may be used for."""

from __future__ import annotations

import math

from models.heads import FittedModel
from models.manifest import Manifest
from models.recorded_risks import ACCOUNTS, POSITIONS
from models.risk_heads import RiskHeads
from models.walked import WALKED

USE = """## What it is for
Volatility, tails of adverse excursions and liquidity of perpetual and spot markets in crypto
assets, from hourly candles and, where there are any, minute candles and a book. It is one pooled
model: markets it has never seen are scored by it, and wider while their history is short.

## What it is not for
Assets that hardly move against their quote (stablecoins), and anything not traded around the
clock: such markets are reported as out of domain. It has seen no funding and no open interest.
Costs to unwind without a book follow the square-root law and are not fitted to fills."""


def card_text(name: str, manifest: Manifest, fitted: FittedModel) -> str:
    """Write the card as Markdown."""
    files = "\n".join(f"- {file} (`{digest}`)" for digest, file in manifest.data_files.items())
    versions = ", ".join(f"{name} {value}" for name, value in manifest.library_versions.items())
    return f"""# Risk model {name[:12]}

Model hash `{name}`, features of version {manifest.feature_version},
seed {manifest.seed}, {versions}.

{USE}

## What it was trained on
Bars from {manifest.trained_from} that open before {manifest.trained_before}.

{files}

Markets: {", ".join(manifest.symbols)}.

## Measured in training
QLIKE is of forecasts for later folds than those learned from.

| measure | value |
|---|---|
{_rows(_named(manifest, walked=False))}
{_walked(manifest)}
## Tails
Quantile of the adverse excursion in units of the forecast deviation, 99 % and 99.5 %, and the
power of that deviation with which it rises: below one, calm markets are given relatively more.

| horizon | columns | long | short | power long, short | widening at 3 days |
|---|---|---|---|---|---|
{_heads(fitted)}
{_risks(fitted.risks, manifest)}"""


def _named(manifest: Manifest, *, walked: bool) -> dict[str, float]:
    """Keep the figures of the recipe's walk, or those of the training."""
    return {
        name: value for name, value in manifest.metrics.items() if name.startswith(WALKED) is walked
    }


def _walked(manifest: Manifest) -> str:
    """Say what the recipe did where it was judged; nothing where no figures were given."""
    figures = _named(manifest, walked=True)
    if not figures:
        return ""
    return f"""
## The recipe, walked forward
Of this recipe refitted each month, 2020-01 to 2023-06 (docs/evaluation.md); not of these
parameters, which have since learned from that period too.

| measure | value |
|---|---|
{_rows({name.removeprefix(WALKED): value for name, value in figures.items()})}
"""


def _risks(risks: RiskHeads | None, manifest: Manifest) -> str:
    """Say what the heads of risk are and where their labels come from."""
    if risks is None:
        return ""
    horizons = ", ".join(f"{head.horizon_s} s" for head in risks.passages)
    return f"""
## Liquidation and accounts
Probability of liquidation over {horizons}: first passage on the forecast, calibrated on forecasts
of later folds; cross accounts on random accounts over 24 h, one calibration for every horizon.

{_seen(manifest)}
Account risk is fitted to labels of a {risks.accounts.origin_}{_unseen(manifest)}.
A trader without history is taken to be liquidated within 30 days with probability
{_chance(risks.accounts.prior_):.2f}.
"""


def _seen(manifest: Manifest) -> str:
    """Say how many recorded positions joined, by horizon and side."""
    counts = {
        name.removeprefix(POSITIONS).replace("_", " s "): int(value)
        for name, value in sorted(manifest.metrics.items())
        if name.startswith(POSITIONS)
    }
    if not any(counts.values()):
        return "No recorded position joined."
    said = ", ".join(f"{name} {count}" for name, count in counts.items())
    return f"Recorded positions that joined, by horizon and side (0: too few): {said}."


def _unseen(manifest: Manifest) -> str:
    """Say that nobody real was seen, where that is so."""
    return "" if manifest.metrics.get(ACCOUNTS) else ", not to real accounts"


def _chance(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-logit))


def _rows(metrics: dict[str, float]) -> str:
    return "\n".join(f"| {name} | {value:.6g} |" for name, value in sorted(metrics.items()))


def _heads(fitted: FittedModel) -> str:
    lines = []
    for head in fitted.heads:
        long, short = head.long.quantiles_, head.short.quantiles_
        lines.append(
            f"| {head.horizon_s} s | {len(head.names)} | {long[0]:.2f}, {long[1]:.2f} "
            f"| {short[0]:.2f}, {short[1]:.2f} "
            f"| {1 + head.long.slope_:.2f}, {1 + head.short.slope_:.2f} | {head.widening:.2f} |"
        )
    return "\n".join(lines)
