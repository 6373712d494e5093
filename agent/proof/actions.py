"""A signed action as evidence, and whether it reproduces: the same book leads to the same words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.errors import EvidenceError
from agent.positions.action_law import Intended
from agent.positions.actions import ActionSettings, Case, Withheld, intended
from agent.positions.ahead import Ahead, Foresight
from agent.positions.cascade import NOTHING_FORESEEN, Foreseen
from agent.positions.chances import Method, Odds, odds_alone, odds_together
from agent.proof.books import decode_readings, encode_readings
from agent.proof.position_words import decode_book, encode_book
from agent.proof.verify import Difference, differing, plain, require_kind
from contracts.book import Book
from contracts.book_margin import standing
from contracts.book_readings import Readings
from contracts.book_views import position_liquidation_price
from contracts.book_words import CROSS, Account, PositionId, split_position_id
from contracts.messages import ActionKind, Domain, PositionAction
from contracts.units import MarketId
from models.heads import HORIZONS_S
from models.risk_heads import CrossMarkets, RiskHeads

ACTION = "action"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """What a position was judged by: the book around it, what was read, what was foreseen."""

    book: Book
    readings: Readings
    ahead: Ahead
    settings: ActionSettings
    block: tuple[int, bytes]
    domain: Domain
    foreseen: Foreseen = NOTHING_FORESEEN


def odds_of(grounds: Grounds, identity: PositionId, heads: RiskHeads | None) -> Odds | None:
    """Judge a position on its grounds: a cross account jointly, where that can be simulated."""
    book, readings, ahead = grounds.book, grounds.readings, grounds.ahead
    together = odds_together(book, readings, identity, ahead, heads)
    if together is not None:
        return together
    own = standing(book, readings, identity)
    fatal = position_liquidation_price(book, readings, identity)
    return odds_alone(own, fatal, ahead, heads)


def encode_action(
    grounds: Grounds, case: Case, what: Intended, code: Mapping[str, str]
) -> dict[str, Any]:
    """Write everything that a stranger needs to intend the same."""
    number, block_hash = grounds.block
    account, _, _ = split_position_id(case.identity)
    used = _used(grounds, account, case.identity)
    return {
        "kind": ACTION,
        "as_of_ms": case.now_ms,
        "block": [number, block_hash.hex()],
        "domain": {
            "chain_id": grounds.domain.chain_id,
            "contract": grounds.domain.contract,
            "config_digest": grounds.domain.config_digest.hex(),
        },
        "position": hex(case.identity),
        "caller": hex(case.caller),
        "book": encode_book(grounds.book),
        "readings": encode_readings(grounds.readings),
        "foresight": {str(m): _foresight(grounds.ahead.markets[m]) for m in used},
        "foresight_as_of_ms": grounds.ahead.as_of_ms,
        "foresight_evidence": grounds.ahead.evidence_hash.hex(),
        "hours": _hours(grounds, case, used),
        "odds": None if case.odds is None else _odds(case.odds),
        "settings": grounds.settings.model_dump(mode="json"),
        "cascade": _cascade(grounds.foreseen) if what.kind is ActionKind.LIQUIDATE else None,
        "intended": encode_intended(what),
        "model_hash": grounds.ahead.model_hash.hex(),
        "code": dict(code),
    }


def encode_intended(what: Intended) -> dict[str, Any]:
    """Write what is intended, in the message's own names."""
    return {
        "kind": what.name,
        "position": hex(what.identity),
        "version": what.version,
        "maintenance_ppm": what.maintenance_ppm,
        "max_size_e18": str(what.max_size),
        "price_bound_e18": str(what.price_bound_e18),
        "because": list(what.because),
    }


def verify_action(
    fields: Mapping[str, Any], message: PositionAction, heads: RiskHeads | None
) -> tuple[Difference, ...]:
    """Decide again on the recorded book; compare the odds, the intention and the message."""
    require_kind(fields, ACTION)
    try:
        grounds, identity, caller = decode_grounds(fields)
        now_ms = int(fields["as_of_ms"])
        recorded = fields["intended"]
    except (KeyError, TypeError, ValueError) as fault:
        raise EvidenceError(f"the bundle holds no readable grounds: {fault!r}") from fault
    odds = odds_of(grounds, identity, heads)
    case = Case(
        identity=identity,
        odds=odds,
        markets=grounds.ahead.markets,
        caller=caller,
        now_ms=now_ms,
    )
    what = intended(grounds.book, grounds.readings, case, grounds.settings)
    again = {"withheld": what.value} if isinstance(what, Withheld) else encode_intended(what)
    found = [
        *differing("odds", fields["odds"], plain(None if odds is None else _odds(odds))),
        *differing("intended", recorded, plain(again)),
    ]
    posted = {
        "kind": message.kind.name.lower(),
        "position": hex(message.position_id),
        "version": message.position_version,
        "maintenance_ppm": message.maintenance_ppm,
        "max_size_e18": str(message.max_size_e18),
        "price_bound_e18": str(message.price_bound_e18),
    }
    for name, value in posted.items():
        found += differing(f"chain.{name}", value, again.get(name))
    found += differing("chain.observed_at_ms", message.observed_at_ms, now_ms)
    found += differing("chain.model_hash", message.model_hash.hex(), fields["model_hash"])
    return tuple(found)


def decode_grounds(fields: Mapping[str, Any]) -> tuple[Grounds, PositionId, Account]:
    """Read back what a position was judged by, which one it was, and by whom."""
    identity = PositionId(int(fields["position"], 16))
    number, block_hash = fields["block"]
    markets = {MarketId(int(k)): _foresight_of(row) for k, row in fields["foresight"].items()}
    ahead = Ahead(
        as_of_ms=fields["foresight_as_of_ms"],
        markets=markets,
        cross=_cross_of(fields["hours"], markets),
        model_hash=bytes.fromhex(fields["model_hash"]),
        evidence_hash=bytes.fromhex(fields["foresight_evidence"]),
    )
    grounds = Grounds(
        book=decode_book(fields["book"]),
        readings=decode_readings(fields["readings"]),
        ahead=ahead,
        settings=ActionSettings.model_validate(fields["settings"], strict=False),
        block=(number, bytes.fromhex(block_hash)),
        domain=decode_domain(fields["domain"]),
    )
    return grounds, identity, Account(int(fields["caller"], 16))


def decode_domain(content: Mapping[str, Any]) -> Domain:
    """Read back in whose name, and under which configuration, an action was signed."""
    return Domain(
        chain_id=content["chain_id"],
        contract=content["contract"],
        config_digest=bytes.fromhex(content["config_digest"]),
    )


def _cascade(foreseen: Foreseen) -> dict[str, str]:
    """Commit to what liquidations were foreseen to set off: the hash of its own evidence."""
    return {"evidence": foreseen.evidence_hash.hex(), "said": foreseen.said}


def _used(grounds: Grounds, account: Account, identity: PositionId) -> list[MarketId]:
    """Name the markets whose foresight an action on a position reads."""
    _, market, mode = split_position_id(identity)
    held = grounds.book.account(account).markets if mode == CROSS else ()
    return [each for each in sorted({market, *held}) if each in grounds.ahead.markets]


def _foresight(each: Foresight) -> dict[str, Any]:
    return {name: getattr(each, name) for name in Foresight.__slots__}


def _foresight_of(row: Mapping[str, Any]) -> Foresight:
    return Foresight(
        deviations=tuple(row["deviations"]),
        tail_long=row["tail_long"],
        tail_short=row["tail_short"],
        slippage=tuple(row["slippage"]),
        depth_usdc=row["depth_usdc"],
    )


def _odds(odds: Odds) -> dict[str, Any]:
    return {"probabilities": list(odds.probabilities), "method": odds.method.value}


def _hours(grounds: Grounds, case: Case, used: list[MarketId]) -> dict[str, Any] | None:
    """Write the hours that a joint simulation went over, a column a market."""
    cross = grounds.ahead.cross
    if cross is None or case.odds is None or case.odds.method is not Method.TOGETHER:
        return None
    return {str(market): cross.returns[:, market].tolist() for market in used}


def _cross_of(
    hours: Mapping[str, Any] | None, markets: Mapping[MarketId, Foresight]
) -> CrossMarkets | None:
    if hours is None:
        return None
    columns = {int(market): column for market, column in hours.items()}
    count, rows = 1 + max(columns), len(next(iter(columns.values())))
    returns, deviations = np.zeros((rows, count)), np.full((len(HORIZONS_S), count), np.nan)
    for market, column in columns.items():
        returns[:, market] = column
        deviations[:, market] = markets[MarketId(market)].deviations
    return CrossMarkets(returns=returns, deviations=deviations)
