"""What market data costs: `python -m benchmarks.market_data --json OUT`.

200 markets at three venues through unmodified ccxt, the daemon's side on one core, the exchanges on
another: loop lag and the price tick under websocket traffic; one message to its market's mark;
memory over a replayed hour; back-fill against what ccxt's rate limit allows; the history store.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from benchmarks.latency import summary
from benchmarks.market_data_world import candles, messages, symbol_of
from contracts.units import MarketId, UnixMs
from relayer.market.aggregate import AggregationRules, Mark, aggregate, aggregate_round
from relayer.market.agreement import CandlePage
from relayer.market.feeds import FeedMemory, FeedRules, withhold_frozen
from relayer.market.history import HistoryStore
from relayer.market.parsing import parse_candles, parse_quote
from relayer.market.settings import VenueSettings
from relayer.market.values import DAY_MS, MINUTE_MS, Listing, Market, Quote
from relayer.market.venue_client import VenueClient
from relayer.market.venues import VenuePool

MARKETS: Final = 200
VENUES: Final = 3
TICK_S: Final = 1.0
LAG_PROBE_S: Final = 0.005
RULES: Final = AggregationRules()
HOUR_ROUNDS: Final = 3_600  # one message of each stream a second
TARGETS: Final = {
    "loop_lag": 50.0,
    "tick_to_aggregate": 2.0,
    "store_read_200": 100.0,
}


class Stopwatch:
    """Notes how long things took, and how much of that this process worked.

    On a machine with other work the difference is waiting for the core, which is not ours.
    """

    def __init__(self) -> None:
        self._wall: list[float] = []
        self._own: list[float] = []

    @contextmanager
    def timing(self, less_s: float = 0.0) -> Iterator[None]:
        """Time what is done inside, less what was asked for."""
        began, worked = time.perf_counter(), time.process_time()
        yield
        self._own.append((time.process_time() - worked) * 1_000)
        self._wall.append((time.perf_counter() - began - less_s) * 1_000)

    def row(self, name: str, **facts: object) -> dict[str, Any]:
        """Sum up, without the first few."""
        warm = len(self._wall) // 20
        own = summary(self._own[warm:])
        figures = {f"own_{key}": own[key] for key in ("p50_ms", "p99_ms")}
        return {"name": name, "unit": "ms", **summary(self._wall[warm:]), **figures, **facts}


class WallClock:
    """The clock that live exchanges keep."""

    async def now_ms(self) -> UnixMs:
        """Give the time."""
        return UnixMs(int(time.time() * 1_000))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--seconds", type=float, default=60.0, help="of websocket traffic")
    parser.add_argument("--rounds", type=int, default=HOUR_ROUNDS, help="replayed, of memory")
    parser.add_argument("--fill-markets", type=int, default=MARKETS, help="of the back-fill")
    parser.add_argument("--only-fill", action="store_true", help="measure the back-fill alone")
    asked = parser.parse_args(arguments)
    os.sched_setaffinity(0, {0})
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[1]:.1f}, Python {sys.version.split()[0]}")
    if asked.only_fill:
        with exchanges() as urls:
            show([asyncio.run(back_fill(urls, asked.fill_markets))])
        return 0
    with exchanges() as urls:
        rows = show(asyncio.run(traffic(urls, asked.seconds)))
        rows += show([asyncio.run(message_to_mark(urls))])
        rows += show([asyncio.run(memory(urls, asked.rounds))])
        rows += show([asyncio.run(back_fill(urls, asked.fill_markets))])
    rows += show(asyncio.run(store()))
    if asked.json:
        asked.json.write_text(
            json.dumps({"load": os.getloadavg()[1], "rows": rows}, indent=1) + "\n"
        )
    return 0


@contextmanager
def exchanges() -> Iterator[list[str]]:
    """Serve the venues from another core."""
    core = max(os.sched_getaffinity(0) | {(os.cpu_count() or 1) - 1})
    command = [sys.executable, "-m", "benchmarks.market_data_world", "--core", str(core)]
    command += ["--venues", str(VENUES), "--markets", str(MARKETS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.kill()


def settings(
    urls: Sequence[str], *, limit_ms: int | None = None, streamed: bool = False
) -> list[VenueSettings]:
    """Name the venues; they keep ccxt's own rate limit unless told otherwise."""
    return [
        VenueSettings(
            id=f"v{number}",
            ccxt_class="okx",
            quote_currency="USDC",
            urls={"rest": url, "ws": url.replace("http", "ws") + "/ws/v5"},
            rate_limit_ms=limit_ms,
            streams=("quotes",) if streamed else (),
        )
        for number, url in enumerate(urls)
    ]


def markets(count: int = MARKETS) -> list[Market]:
    """List the markets at every venue."""
    return [
        Market(
            market=MarketId(number),
            symbol=f"M{number}",
            class_id=1,
            listings=tuple(
                Listing(venue=f"v{n}", symbol=symbol_of(number), quote_currency="USDC")
                for n in range(VENUES)
            ),
        )
        for number in range(count)
    ]


async def traffic(urls: Sequence[str], seconds: float) -> list[dict[str, Any]]:
    """Tick once a second under websocket traffic; watch how late the loop wakes."""
    pool = VenuePool(settings(urls, limit_ms=1, streamed=True), markets(), WallClock())
    await pool.open()
    loop, lags, ticks, made = asyncio.get_running_loop(), Stopwatch(), Stopwatch(), []
    await asyncio.sleep(5.0)
    gc.collect()
    gc.freeze()  # as the daemon does when it is up
    probing = asyncio.create_task(_probe(lags))
    ids = [MarketId(market) for market in range(MARKETS)]
    memory, ends, used = FeedMemory(), loop.time() + seconds, time.process_time()
    while loop.time() < ends:
        with ticks.timing():
            taken, memory = withhold_frozen(memory, await pool.quotes(), FeedRules())
            marks = aggregate_round(taken, ids, int(time.time() * 1_000), RULES)
        made.append(sum(isinstance(mark, Mark) for mark in marks.values()))
        await asyncio.sleep(TICK_S)
    used = time.process_time() - used
    probing.cancel()
    gc.unfreeze()
    await pool.close()
    facts = {"messages_a_second": 2 * MARKETS * VENUES, "cpu_share": used / seconds}
    return [
        lags.row("loop_lag", **facts, fewest_marks=min(made)),
        ticks.row("tick_of_all_markets"),
    ]


async def _probe(lags: Stopwatch) -> None:
    """Note how much later than asked the loop wakes, and how much it worked meanwhile."""
    while True:
        with lags.timing(LAG_PROBE_S):
            await asyncio.sleep(LAG_PROBE_S)


async def message_to_mark(urls: Sequence[str], count: int = 4_000) -> dict[str, Any]:
    """Time one message in hand to its market's mark: ccxt's parsing, ours, and the aggregate."""
    listed = markets()
    [venue] = [VenueClient(each, listed) for each in settings(urls[:1], limit_ms=1)]
    await venue.link.load()
    exchange, times = venue.link.exchange, Stopwatch()
    client = exchange.client(urls[0].replace("http", "ws") + "/ws/v5/public")
    now = int(time.time() * 1_000)
    standing = [_quotes(exchange, client, market, now) for market in listed]
    gc.collect()
    gc.freeze()
    for turn in range(count):
        market = listed[turn % MARKETS]
        message = next(messages(market.market, now + turn))
        with times.timing():
            fresh = _quote(exchange, client, market, message)
            aggregate([fresh, *standing[market.market][1:]], now, RULES)
    gc.unfreeze()
    await venue.close()
    return times.row("tick_to_aggregate")


def _quote(exchange: Any, client: Any, market: Market, message: dict[str, Any]) -> Quote:  # noqa: ANN401 - ccxt is untyped
    """Take one message in as the streams do."""
    listing = market.listings[0]
    exchange.handle_message(client, message)
    found = parse_quote(listing, market.market, exchange.tickers[listing.symbol], None, 0)
    assert isinstance(found, Quote)
    return found


def _quotes(exchange: Any, client: Any, market: Market, at_ms: int) -> list[Quote]:  # noqa: ANN401 - ccxt is untyped
    """Give one market's quotes at all venues."""
    one = _quote(exchange, client, market, next(messages(market.market, at_ms)))
    return [replace(one, venue=each.venue) for each in market.listings]


async def memory(urls: Sequence[str], rounds: int) -> dict[str, Any]:
    """Replay as many seconds of all streams as fast as they are taken; watch the memory."""
    listed = markets()
    venues = [VenueClient(each, listed) for each in settings(urls, limit_ms=1)]
    for venue in venues:
        await venue.link.load()
    address = urls[0].replace("http", "ws") + "/ws/v5/public"
    clients = [venue.link.exchange.client(address) for venue in venues]
    started, sizes, began = int(time.time() * 1_000), [], time.perf_counter()
    for turn in range(rounds):
        at_ms = started + 1_000 * turn
        for market in range(MARKETS):
            for message in messages(market, at_ms):
                for venue, client in zip(venues, clients, strict=True):
                    venue.link.exchange.handle_message(client, message)
        for venue in venues:
            venue.streams.look()
        if turn % max(1, rounds // 12) == 0:
            gc.collect()
            sizes.append(_resident_mb())
            await asyncio.sleep(0)
    took = time.perf_counter() - began
    for venue in venues:
        await venue.close()
    settled = sizes[len(sizes) // 4 :]
    return {
        "name": "memory_over_replayed_hour",
        "unit": "MB",
        "replayed_s": rounds,
        "messages": rounds * MARKETS * VENUES * 2,
        "us_a_message": took * 1e6 / (rounds * MARKETS * VENUES * 2),
        "first": settled[0],
        "last": settled[-1],
        "growth": settled[-1] - settled[0],
    }


def _resident_mb() -> float:
    """Read how much memory this process holds."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def back_fill(urls: Sequence[str], count: int) -> dict[str, Any]:
    """Fill an empty store at ccxt's own rate limit, and compare with what that limit allows."""
    listed = markets(count)
    pool = VenuePool(settings(urls), listed, WallClock())
    await pool.open()
    with tempfile.TemporaryDirectory() as folder:
        kept = HistoryStore(Path(folder), listed)
        kept.open()
        before = [_calls(url) for url in urls]
        began = time.perf_counter()
        report = await kept.fill(pool, int(time.time() * 1_000))
        took = time.perf_counter() - began
        after = [_calls(url) for url in urls]
        restarted = await _restart(Path(folder), listed, pool)
    again = [_calls(url) for url in urls]
    await pool.close()
    exchange = VenueClient(settings(urls)[0], listed).link.exchange
    costs, unit_s = exchange.api["public"]["get"], exchange.rateLimit / 1_000
    waits = [
        sum(
            (new[path] - old.get(path, 0)) * _cost(costs[path]) * unit_s
            for path in new
            if path in costs
        )
        for old, new in zip(before, after, strict=True)
    ]
    bound = max(waits)  # ccxt lets so much through at the busiest venue, and no more
    return {
        "name": "back_fill",
        "unit": "s",
        "markets": count,
        "faults": len(report.faults),
        "calls": sum(map(_asked, after)) - sum(map(_asked, before)),
        "refused_429": sum(each.get("refused", 0) for each in after),
        "took": took,
        "bound": bound,
        "times_the_bound": took / bound,
        "restart_s": restarted,
        "restart_calls": sum(map(_asked, again)) - sum(map(_asked, after)),
    }


async def _restart(folder: Path, listed: Sequence[Market], pool: VenuePool) -> float:
    """Open the filled store as a new process would, and bring it up to now."""
    began = time.perf_counter()
    kept = HistoryStore(folder, listed)
    kept.open()
    await kept.fill(pool, int(time.time() * 1_000))
    return time.perf_counter() - began


def _asked(calls: Mapping[str, int]) -> int:
    """Count the pages that one exchange was asked for."""
    return sum(count for path, count in calls.items() if path != "refused")


def _cost(told: Any) -> float:  # noqa: ANN401 - ccxt is untyped
    """Read what a call costs of ccxt's rate limit: a number, or a table with one."""
    return float(told.get("cost", 1) if isinstance(told, dict) else told)


def _calls(url: str) -> dict[str, int]:
    """Ask an exchange how many pages of bars it was asked for, by path."""
    with urllib.request.urlopen(f"{url}/api/v5/calls") as answer:
        return dict(json.load(answer)["data"][0])


class MadeCandles:
    """A source of bars without an exchange."""

    async def candles(
        self, market: MarketId, bar_ms: int, since_ms: int, limit: int, away: set[str]
    ) -> CandlePage:
        """Give a page at once."""
        bar = "1m" if bar_ms == MINUTE_MS else "1H"
        rows = candles(market, bar, since_ms + limit * bar_ms, limit)
        table = [[int(row[0]), *(float(cell) for cell in row[1:6])] for row in rows]
        listing = Listing(venue="v0", symbol=symbol_of(market), quote_currency="USDC")
        return CandlePage(bars=parse_candles(listing, market, bar_ms, table, since_ms + 10**12))


async def store() -> list[dict[str, Any]]:
    """Fill the store whole, open it again, and read every window."""
    listed, now = markets(), int(time.time() * 1_000) // DAY_MS * DAY_MS + 12 * 60 * MINUTE_MS
    opens, reads = Stopwatch(), Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        first = HistoryStore(Path(folder), listed)
        first.open()
        await first.fill(MadeCandles(), now)
        gc.collect()
        gc.freeze()
        for _ in range(5):
            with opens.timing():
                kept = HistoryStore(Path(folder), listed)
                kept.open()
        for _ in range(20):
            with reads.timing():
                windows = [kept.window(market.market, now) for market in listed]
        gc.unfreeze()
        size = _size_mb(Path(folder))
    bars = sum(len(each.hours) + len(each.minutes) for each in windows)
    return [opens.row("store_open_200", disk_mb=size), reads.row("store_read_200", bars=bars)]


def _size_mb(folder: Path) -> float:
    """Add up what a folder holds."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def show(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add the targets to some figures, print them, and give them back."""
    for row in rows:
        row["target"] = TARGETS.get(row["name"])
        figures = ", ".join(
            f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}"
            for key, value in row.items()
            if value is not None and key not in {"name", "unit"}
        )
        print(f"{row['name']} [{row['unit']}]: {figures}", flush=True)
    return rows


if __name__ == "__main__":
    sys.exit(main())
