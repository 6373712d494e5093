"""A sample of a replay on the contracts themselves: every call sent, everything compared.

    python -m benchmarks.crises_contracts [--hours N] [--accounts N] [--seed N]

The eight contracts' bytecode runs in process; rounds, updates and terms are signed and verified.
First the mirror plays and keeps its log; then the contracts get the same calls, one by one, and
must answer alike: same refusal, same storage words, same readings, same book.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from agent.config import load_settings
from benchmarks.crises import DATA, HOURS, QUICK, SPOT, made_up
from benchmarks.crises_book import account_of
from benchmarks.crises_daemon import Daemon
from benchmarks.crises_floor import Floor, nobody_looks
from benchmarks.crises_law import KEEPER, MS, Call, Class, Law
from benchmarks.crises_orders import Crowd
from benchmarks.crises_prices import LEAD_MINUTES, Walk, path_of
from benchmarks.crises_run import Crisis, bars_of
from contracts.book_words import Account
from contracts.book_words import encode_rules as words_of
from contracts.fields import checksummed
from contracts.price_feed import encode_rules
from contracts.refusals import Refusal
from contracts.risk_bounds import encode_bounds
from models.artifact import default_artifact, load
from models.intents import intents
from models.population import traders
from relayer.market.values import price_e18
from tests.contracts.chain import FAST, RevmEvm
from tests.contracts.lockstep import PLENTY, RULES
from tests.contracts.lockstep_calls import Calls
from tests.contracts.margin_world import MARKET_RULES, MarginWorld, on_grid
from tests.contracts.world import CLASS, OWNER

BEFORE_S: Final = 86_400
"""The contracts are deployed and funded in the day before."""
EVERY_MINUTES: Final = 30
SAMPLE: Final = Crisis(
    name="2020-03, sample",
    file=HOURS,
    witness=SPOT,
    markets=(("BTC/USDT:USDT", CLASS), ("ETH/USDT:USDT", CLASS), ("XRP/USDT:USDT", CLASS)),
    start=datetime(2020, 3, 12, tzinfo=UTC),
    end=datetime(2020, 3, 13, 6, tzinfo=UTC),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """What was sent to both: calls by name, refusals among them, and liquidations that closed."""

    calls: Mapping[str, int]
    refused: int
    liquidations: int


class Differs(AssertionError):  # noqa: N818 - it is what the reader must act on
    """Contracts and mirror answered differently."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Play the sample on both, and say what was compared."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, default=30)
    parser.add_argument("--accounts", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    if not (DATA / HOURS).is_file() or not FAST:
        print("skipped: the recorded candles or pyrevm are absent")
        return 0
    end = SAMPLE.start + timedelta(hours=options.hours)
    crisis = dataclasses.replace(SAMPLE, end=end)
    walk = path_of(bars_of(DATA, crisis), crisis.symbols, _start_ms(crisis), options.seed)
    found = sampled(walk, options.accounts, options.seed)
    print(f"{sum(found.calls.values())} calls on contracts and mirror, all alike: {found}")
    return 0


def quick_sample(accounts: int = 12) -> Sampled:
    """Play made-up candles on both."""
    walk = path_of(made_up(QUICK), QUICK.symbols, _start_ms(QUICK), 1)
    return sampled(walk, accounts, 1)


def sampled(walk: Walk, accounts: int, seed: int) -> Sampled:
    """Play a walk on the mirror, then its log on the contracts."""
    chain = deployed_chain(walk, accounts)
    world = chain.world
    law = Law(world.feed.state(), world.oracle.state(), chain.book, keeps_log=True)
    law.at(chain.now_s)
    played(law, walk, accounts, seed)
    assert law.log is not None
    for call in law.log:
        send(chain, call)
    chain.compare_all()
    names = Counter(call.name for call in law.log)
    closed = sum(c.name == "liquidate" and c.refusal is None for c in law.log)
    refused = sum(c.refusal is not None for c in law.log)
    return Sampled(calls=dict(names), refused=refused, liquidations=closed)


def deployed_chain(walk: Walk, accounts: int) -> Calls:
    """Deploy and fund everything before the walk begins, with the local network's limits."""
    row = walk.minutes.close[LEAD_MINUTES - 1]
    prices = {market: on_grid(price_e18(float(price))) for market, price in enumerate(row)}
    evm = RevmEvm(now_s=walk.start_ms // MS - BEFORE_S)
    world = MarginWorld(evm, prices=prices)
    local = _local()
    for market in prices:  # the twin begins with rules of its own
        world.engine.send(OWNER, "set_rules", market, words_of(RULES.get(market, MARKET_RULES)))
    world.feed.send(OWNER, "set_class", CLASS, encode_rules(local.prices))
    world.oracle.send(OWNER, "set_class", CLASS, encode_bounds(local.bounds))
    chain = Calls(world)
    for number in range(accounts):
        _enrol(chain, account_of(number))
    _enrol(chain, KEEPER)
    chain.wait(walk.start_ms // MS - chain.now_s)
    for market in tuple(chain.book.markets):
        if chain.set_rules(market, local.margin) is not None:
            raise Differs("the local network's rules were refused")
    return chain


def _enrol(chain: Calls, account: Account) -> None:
    address = checksummed(f"0x{account:040x}")
    chain.addresses[account] = address
    chain.world.mint(address, PLENTY, chain.world.vault)


def played(law: Law, walk: Walk, accounts: int, seed: int) -> None:
    """Play a walk under our agent; every market is of class 1."""
    settings = load_settings("local")
    rules = settings.rules.model_copy(update={"valid_for_s": 120 * EVERY_MINUTES})
    daemon = Daemon(load(default_artifact()), rules, walk)

    def steer(law: Law, minute: int) -> None:
        if minute % EVERY_MINUTES:
            return
        judgement, _ = daemon.cycle(law, minute)
        if judgement.words:
            law.update(judgement.words, law.now_s * MS, judgement.validity_s, daemon.model_hash)

    markets = len(walk.symbols)
    people = traders(accounts, markets=markets, seed=seed)
    crowd = Crowd(
        people=people,
        intents=intents(people, minutes=walk.length, markets=markets, seed=seed),
        most_leverage=(settings.rules.policy.classes[str(CLASS)].max_leverage,) * markets,
    )
    floor = Floor(law, walk, crowd, steer, nobody_looks)
    floor.begin()
    for minute in range(1, walk.length + 1):
        floor.play(minute)
    daemon.close()


def send(chain: Calls, call: Call) -> None:
    """Send one call of the log to the contracts and compare everything that it shows."""
    if call.now_s != chain.now_s:
        chain.wait(call.now_s - chain.now_s)
    refusal = _sent(chain, call)
    if refusal is not call.refusal:
        raise Differs(f"{call.name} at {call.now_s}: {refusal!r}, the mirror {call.refusal!r}")
    found = chain.seen if call.name in {"post", "update"} else chain.book
    if found != call.after:
        raise Differs(f"{call.name} at {call.now_s} leaves another state than in the mirror")


def _sent(chain: Calls, call: Call) -> Refusal | None:
    match call.name:
        case "post":
            return chain.posted(call.arguments[0], chain.world.feed)
        case "update":
            return chain.posted(call.arguments[0], chain.world.oracle)
        case "execute":
            return chain.execute(call.arguments[0], KEEPER)
        case "liquidate":
            return chain.liquidate(call.arguments[0], KEEPER)
        case name:
            answer: Refusal | None = getattr(chain, name)(*call.arguments)
            return answer


def _local() -> Class:
    deployment = load_settings("local").deployment
    assert deployment is not None
    majors = deployment.classes[str(CLASS)]
    return Class(prices=majors.rules, bounds=majors.bounds, margin=majors.margin)


def _start_ms(crisis: Crisis) -> int:
    return int(crisis.start.timestamp()) * MS


__all__ = ["Sampled", "main", "quick_sample", "sampled"]

if __name__ == "__main__":
    sys.exit(main())
