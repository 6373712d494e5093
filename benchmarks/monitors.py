"""The live monitors replayed: `python -m benchmarks.monitors --json OUT`.

The shipped artifact serves 11 coins every four hours over 2020-01 to 2023-06 as the daemon would
(hourly candles, promises of 4 h and 24 h, online factors from what has ended), and its outcomes
run through `models.live`. Beside it stands a model that stopped learning at the end of 2020: each
coin's own deviation and 99 % quantiles of that year, forever. Shown are every alarm, how long after
the onset of each crisis the first one came, and how many fell into quiet months.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.walks import DATA, END, FILES, START, judged_symbols, tell
from models.artifact import LoadedModel, default_artifact, load
from models.dataset import HOUR_MS, Rows, hour_rows, joined, read_series, with_state
from models.drift import Reference, reference_of
from models.features import FeatureVector
from models.live import MONITORS, Raised, Terms, Watch, new_watch, seen, terms_of, watched
from models.promises import NOTHING_LEARNED, Ending, Promise, after
from models.scorer import HorizonTail, MarketFactors

DAY_MS = 86_400_000
HORIZONS_S = (14_400, 86_400)
STRIDE_HOURS = 4
"""The features of one instant stand for the hours up to the next."""
ONSETS = {"2021-05": "2021-05-19", "2022-05": "2022-05-09", "2022-11": "2022-11-08"}
WITHIN_DAYS = 45.0
STORMS = ("2020-03", "2021-05", "2021-06", "2022-05", "2022-06", "2022-11")
"""Months that the protocol calls crises (docs/evaluation.md); all others are quiet."""
FROZEN_FROM = datetime(2021, 1, 1, tzinfo=UTC)
Forecast = Callable[[Sequence[FeatureVector], Mapping[int, MarketFactors]], list[Promise]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Record:
    """Rows of the coins, and the places of each instant's."""

    rows: Rows
    places: Mapping[int, Sequence[int]]

    def vectors(self, stamp: int) -> list[FeatureVector]:
        """Return what the coins looked like."""
        return [
            FeatureVector(
                market=self.market(place),
                as_of_ms=stamp,
                names=self.rows.names,
                values=tuple(self.rows.features[place].tolist()),
            )
            for place in self.places[stamp]
        ]

    def market(self, place: int) -> int:
        """Return the number of a row's coin."""
        return judged_symbols().index(str(self.rows.symbols[place]))

    def ending(self, promise: Promise) -> Ending | None:
        """Return what followed a promise, where enough of it was traded."""
        column = HORIZONS_S.index(promise.horizon_s)
        for place in self.places[promise.from_ms]:
            if self.market(place) == promise.market:
                values = (self.rows.variance, self.rows.falls, self.rows.rises)
                variance, fall, rise = (float(each[place, column]) for each in values)
                if np.isfinite(variance) and np.isfinite(fall):
                    return Ending(promise=promise, variance=variance, fall=fall, rise=rise)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarmed:
    """An alarm and when it was raised."""

    at_ms: int
    raised: Raised

    @property
    def day(self) -> str:
        """The day, for people."""
        return datetime.fromtimestamp(self.at_ms / 1_000, tz=UTC).date().isoformat()


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay both models, print the tables, and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(arguments)
    path = DATA / FILES[0]
    if not path.is_file():
        print(f"skipped: {path} is absent", file=sys.stderr)
        return 2
    model = load(default_artifact())
    record, reference = read(path)
    terms = terms_of(model, len(judged_symbols()))
    held = Terms(markets=terms.markets, losses=terms.losses, reference=reference)
    report = {
        "model": model.model_hash.hex(),
        "trained_before": model.manifest.trained_before,
        "shipped": summary(replayed(record, held, served_by(model), START)),
        "frozen in 2020": summary(replayed(record, held, frozen(record), FROZEN_FROM)),
    }
    show(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def read(path: Path) -> tuple[Record, Reference]:
    """Read the coins' rows, and what their market-weeks were like before 2020."""
    first, last = (int(border.timestamp() * 1_000) for border in (START, END))
    parts = []
    for done, series in enumerate(read_series(path)):
        tell("reading", done, 0)
        if series.symbol in judged_symbols():
            rows = hour_rows(series, horizons_s=HORIZONS_S, stride_ms=STRIDE_HOURS * HOUR_MS)
            parts.append(rows)
    whole, places = with_state(joined(parts)), dict[int, list[int]]()
    rows = whole.select((whole.as_of_ms >= first) & (whole.as_of_ms < last))
    for place, stamp in enumerate(rows.as_of_ms.tolist()):
        places.setdefault(stamp, []).append(place)
    return Record(rows=rows, places=places), reference_of(whole.select(whole.as_of_ms < first))


def served_by(model: LoadedModel) -> Forecast:
    """Return what a model promises for 4 h and 24 h."""

    def promises(
        vectors: Sequence[FeatureVector], factors: Mapping[int, MarketFactors]
    ) -> list[Promise]:
        return [
            Promise(market=score.market, from_ms=score.as_of_ms, deviation=deviation, tail=tail)
            for score in model.scorer.score(vectors, factors)
            if not score.out_of_domain
            for deviation, tail in zip(score.volatility, score.tails, strict=True)
            if tail.horizon_s in HORIZONS_S
        ]

    return promises


def frozen(record: Record) -> Forecast:
    """Return a model that promises each coin's own 2020 forever."""
    rows, end = record.rows, int(FROZEN_FROM.timestamp() * 1_000)
    known: dict[tuple[int, int], tuple[float, HorizonTail]] = {}
    for market, symbol in enumerate(judged_symbols()):
        for column, horizon_s in enumerate(HORIZONS_S):
            chosen = (rows.symbols == symbol) & (rows.as_of_ms + 1_000 * horizon_s <= end)
            chosen &= np.isfinite(rows.variance[:, column])
            falls = -np.expm1(-rows.falls[chosen, column])
            rises = np.expm1(rows.rises[chosen, column])
            longs, shorts = (np.quantile(each, (0.99, 0.995)) for each in (falls, rises))
            tail = HorizonTail(
                horizon_s=horizon_s,
                long_990=float(longs[0]),
                long_995=float(longs[1]),
                short_990=float(shorts[0]),
                short_995=float(shorts[1]),
            )
            deviation = float(np.sqrt(rows.variance[chosen, column].mean()))
            known[market, horizon_s] = (deviation, tail)

    def promises(
        vectors: Sequence[FeatureVector], factors: Mapping[int, MarketFactors]
    ) -> list[Promise]:
        del factors
        return [
            Promise(
                market=vector.market,
                from_ms=vector.as_of_ms,
                deviation=known[vector.market, horizon_s][0],
                tail=known[vector.market, horizon_s][1],
            )
            for vector in vectors
            for horizon_s in HORIZONS_S
        ]

    return promises


def replayed(record: Record, terms: Terms, forecast: Forecast, start: datetime) -> list[Alarmed]:
    """Serve instant by instant, and return every alarm."""
    watch, state, open_promises = (
        new_watch(terms),
        NOTHING_LEARNED,
        dict[tuple[int, int], Promise](),
    )
    factors: dict[int, MarketFactors] = {}
    found: list[Alarmed] = []
    stamps = sorted(stamp for stamp in record.places if stamp >= start.timestamp() * 1_000)
    for done, stamp in enumerate(stamps):
        if done % 500 == 0:
            tell("replaying", done, len(stamps))
        over = [each for each in open_promises.values() if each.ends_ms <= stamp]
        endings = [each for each in map(record.ending, over) if each is not None]
        for promise in over:
            del open_promises[promise.market, promise.horizon_s]
        vectors = record.vectors(stamp)
        if endings:
            state = after(state, endings, stamp)
            known = {vector.market: state.of_market(vector.market) for vector in vectors}
            factors = {market: own for market, own in known.items() if own is not None}
        watch, raised = _moved(watch, endings, vectors, stamp, terms)
        found += [Alarmed(at_ms=stamp, raised=each) for each in raised]
        for promise in forecast(vectors, factors):
            key = (promise.market, promise.horizon_s)
            if stamp % (1_000 * promise.horizon_s) == 0 and key not in open_promises:
                open_promises[key] = promise
    return found


def _moved(
    watch: Watch,
    endings: Sequence[Ending],
    vectors: Sequence[FeatureVector],
    stamp: int,
    terms: Terms,
) -> tuple[Watch, tuple[Raised, ...]]:
    watch, alarms = watched(watch, endings, terms)
    for hour in range(STRIDE_HOURS):
        watch, drifts = seen(watch, vectors, stamp + hour * HOUR_MS, terms)
        alarms = (*alarms, *drifts)
    return watch, alarms


def summary(found: Sequence[Alarmed]) -> dict[str, Any]:
    """Say for each monitor how it met each crisis, and what it raised in quiet months."""
    table: dict[str, Any] = {}
    for monitor in MONITORS:
        own = [each for each in found if each.raised.monitor == monitor]
        quiet = [each for each in own if each.day[:7] not in STORMS]
        table[monitor] = {
            "delay_days": {name: _delay(own, day) for name, day in ONSETS.items()},
            "alarms": len(own),
            "quiet_alarms": len(quiet),
            "listed": [[each.day, each.raised.key, each.raised.words] for each in own],
        }
    return table


def _delay(found: Sequence[Alarmed], day: str) -> float | None:
    onset = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1_000
    later = [each.at_ms for each in found if onset <= each.at_ms < onset + WITHIN_DAYS * DAY_MS]
    return round((min(later) - onset) / DAY_MS, 1) if later else None


def show(report: Mapping[str, Any]) -> None:
    """Print the tables."""
    print(f"\nmodel {report['model'][:12]}, trained before {report['trained_before'][:10]}")
    for name in ("shipped", "frozen in 2020"):
        for monitor, line in report[name].items():
            delays = ", ".join(f"{crisis} {days}" for crisis, days in line["delay_days"].items())
            print(
                f"{name:15} {monitor:9} delay in days: {delays}; {line['alarms']} alarms, "
                f"{line['quiet_alarms']} in quiet months"
            )
            for listed in line["listed"]:
                print("   ", *listed)


if __name__ == "__main__":
    sys.exit(main())
