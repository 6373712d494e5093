"""The owner's acts as calls of the contracts, from the configuration and what the chain has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.config import DeploymentSettings
from agent.deploying import class_plan, first_values
from agent.errors import ConfigError
from agent.owner.steps import Authority
from contracts.book_words import MarketRules, encode_rules
from contracts.calls import NamedCall
from contracts.envelope import Configuration
from contracts.fields import checksummed
from contracts.halts import MAX_OWNER_PAUSE_S, DecisionKind, PauseScope
from contracts.packing import pack_amount, pack_risk_word
from contracts.price_feed import encode_rules as encode_class_rules
from contracts.risk_bounds import encode_bounds
from contracts.risk_oracle import OracleState
from contracts.units import MarketId, UnixS
from relayer.chain.reads import ChainState
from relayer.chain.values import Deployment
from relayer.market.values import Market

FEED, ORACLE, ENGINE, POOL = "PriceFeed", "RiskOracle", "MarginEngine", "LiquidityPool"
SCOPES: Mapping[str, PauseScope] = {
    each.name.lower().replace("_", "-"): each for each in PauseScope
}
KINDS: Mapping[str, DecisionKind] = {
    each.name.lower().replace("_", "-"): each for each in DecisionKind
}
Calls = tuple[NamedCall, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerChange:
    """What is to become of one contract's signers; a threshold of None stays."""

    contract: str
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    threshold: int | None = None


class Owned:
    """The contracts that have an owner, by name, and calls of them."""

    def __init__(self, deployment: Deployment) -> None:
        margin = deployment.margin
        self.addresses = {FEED: deployment.price_feed, ORACLE: deployment.risk_oracle}
        if margin is not None:
            self.addresses |= {ENGINE: margin.engine, POOL: margin.pool}

    def call(self, contract: str, function: str, *values: Any) -> NamedCall:  # noqa: ANN401
        """Name one call of one of them."""
        if contract not in self.addresses:
            raise ConfigError(f"{contract}: the deployment has no margin contracts")
        return NamedCall(
            contract=contract, address=self.addresses[contract], function=function, values=values
        )

    def everywhere(self, function: str, *values: Any) -> Calls:  # noqa: ANN401
        """Name the same call of each."""
        return tuple(self.call(each, function, *values) for each in self.addresses)


def resume_scope(owned: Owned, scope: PauseScope) -> Calls:
    """End a pause."""
    return (owned.call(ORACLE, "resume", int(scope)),)


def enable_kind(owned: Owned, kind: DecisionKind) -> Calls:
    """Accept a kind of signed decision again."""
    return (owned.call(ORACLE, "enable_decision_kind", int(kind)),)


def resume_market(owned: Owned, oracle: OracleState, market: MarketId, now_s: UnixS) -> Calls:
    """End whatever stops one market: its pause, its freeze, the guardian's limit."""
    state, guard = oracle.markets[market], oracle.guards[market]
    stopped = {
        "resume_market": guard.pause_until_s > now_s,
        "unfreeze_market": state.frozen,
        "lift_tightening": guard.limits(now_s),
    }
    return tuple(owned.call(ORACLE, name, market) for name, is_so in stopped.items() if is_so)


def resume_everything(owned: Owned, oracle: OracleState, now_s: UnixS) -> Calls:
    """End all that is stopped now."""
    controls = oracle.controls
    untils = {
        PauseScope.NEW_RISK: controls.new_risk_until_s,
        PauseScope.AI_INPUT: controls.ai_input_until_s,
        PauseScope.WITHDRAWALS: controls.withdrawals_until_s,
        PauseScope.LIQUIDATION: controls.liquidation_until_s,
        PauseScope.EVERYTHING: controls.everything_until_s,
    }
    calls = [
        c for scope, until in untils.items() if until > now_s for c in resume_scope(owned, scope)
    ]
    calls += [c for kind in sorted(controls.disabled_kinds) for c in enable_kind(owned, kind)]
    for market in range(len(oracle.markets)):
        calls += resume_market(owned, oracle, MarketId(market), now_s)
    return tuple(calls)


def pause(owned: Owned, what: PauseScope | MarketId, seconds: int) -> Calls:
    """Stop something for longer than the guardian may."""
    _require_pause(seconds)
    function = "pause" if isinstance(what, PauseScope) else "pause_market"
    return (owned.call(ORACLE, function, int(what), seconds),)


def _require_pause(seconds: int) -> None:
    if not 0 < seconds <= MAX_OWNER_PAUSE_S:
        raise ConfigError(f"--for: the owner's pause lasts at most {MAX_OWNER_PAUSE_S // 86_400} d")


def add_market(owned: Owned, market: Market, count: int, wanted: DeploymentSettings) -> Calls:
    """Add the next market of the configuration to feed, oracle and engine."""
    if market.market < count:
        raise ConfigError(
            f"market {market.symbol}: is on the contracts already, as {market.market}; "
            "a new market is the table after theirs"
        )
    if market.market != count:
        raise ConfigError(
            f"market {market.symbol}: is table {market.market} of [[markets]], and the contracts "
            f"have {count}; a new market is the table after theirs"
        )
    planned, class_id = first_values(market, wanted), market.class_id
    calls = [
        owned.call(FEED, "add_market", count, class_id),
        owned.call(ORACLE, "add_market", count, class_id, pack_risk_word(planned.parameters)),
    ]
    if ENGINE in owned.addresses:
        calls.append(
            owned.call(ENGINE, "set_rules", count, encode_rules(margin_rules(class_id, wanted)))
        )
    return tuple(calls)


def margin_rules(class_id: int, wanted: DeploymentSettings) -> MarketRules:
    """Give the engine's rules of a class of the configuration."""
    rules = wanted.classes[str(class_id)].margin
    if not isinstance(rules, MarketRules):
        raise ConfigError(f"[deployment.classes.{class_id}.margin]: is missing")
    return rules


def reduce_only(owned: Owned, oracle: OracleState, market: MarketId, seconds: int) -> Calls:
    """Take no new positions in a market; its live cap stands beside it as the limit's."""
    _require_pause(seconds)
    values = oracle.markets[market].values
    limit = (market, int(values.cap_e2), pack_amount(values.open_interest_cap_usdc), True, seconds)
    return (owned.call(ORACLE, "tighten_market", *limit),)


def settle(owned: Owned, market: MarketId) -> Calls:
    """End a market for ever at the feed's last good price."""
    return (owned.call(ENGINE, "begin_settlement", int(market)),)


def bounds(
    owned: Owned, state: ChainState, wanted: DeploymentSettings, rules: Mapping[MarketId, int]
) -> Calls:
    """Bring every class to what the configuration says; what is so already is left out.

    `rules`: the engine's word of each market that it has.
    """
    return (*_classes(owned, state, wanted), *_rules(owned, state, wanted, rules))


def _classes(owned: Owned, state: ChainState, wanted: DeploymentSettings) -> Iterator[NamedCall]:
    for number, settings in sorted(wanted.classes.items()):
        class_id, planned = int(number), class_plan(int(number), settings)
        if fault := planned.rules.fault() or planned.bounds.fault():
            raise ConfigError(f"[deployment.classes.{number}]: {fault}")
        if state.feed.rules.get(class_id) != planned.rules:
            yield owned.call(FEED, "set_class", class_id, encode_class_rules(planned.rules))
        if state.oracle.bounds.get(class_id) != planned.bounds:
            yield owned.call(ORACLE, "set_class", class_id, encode_bounds(planned.bounds))


def _rules(
    owned: Owned, state: ChainState, wanted: DeploymentSettings, rules: Mapping[MarketId, int]
) -> Iterator[NamedCall]:
    for market, word in sorted(rules.items()):
        class_id = state.oracle.markets[market].class_id
        if str(class_id) in wanted.classes:
            planned = encode_rules(margin_rules(class_id, wanted))
            if planned != word:
                yield owned.call(ENGINE, "set_rules", int(market), planned)


def signers(owned: Owned, change: SignerChange, config: Configuration) -> Calls:
    """Add first, then the threshold, then remove: at no moment are there fewer than needed."""
    if not change.add and not change.remove and change.threshold is None:
        raise ConfigError("signers: say what is to change: --add, --remove or --threshold")
    standing = set(config.signers)
    added, removed = set(change.add), set(change.remove)
    if fault := next((a for a in change.add if a in standing), None):
        raise ConfigError(f"--add {fault}: is a signer of {change.contract} already")
    if fault := next((r for r in change.remove if r not in standing), None):
        raise ConfigError(f"--remove {fault}: is no signer of {change.contract}")
    threshold = config.threshold if change.threshold is None else change.threshold
    left = len((standing | added) - removed)
    if not 1 <= threshold <= left:
        raise ConfigError(
            f"--threshold {threshold}: {left} signers would be left; give 1 to {left}"
        )
    calls = [owned.call(change.contract, "add_signer", each) for each in change.add]
    if threshold != config.threshold:
        calls.append(owned.call(change.contract, "set_threshold", threshold))
    calls += [owned.call(change.contract, "remove_signer", each) for each in change.remove]
    return tuple(calls)


def policy(owned: Owned, planned: bytes, standing: Mapping[str, bytes]) -> Calls:
    """Set the hash of the rules by which decisions are made, where it is another."""
    return tuple(
        owned.call(name, "set_policy_hash", planned)
        for name in (FEED, ORACLE)
        if standing[name] != planned
    )


def guardian(owned: Owned, address: str, standing: Mapping[str, str]) -> Calls:
    """Replace the guardian wherever it is another."""
    wanted = checksummed(address)
    return tuple(
        owned.call(name, "set_guardian", wanted)
        for name in owned.addresses
        if standing[name] != wanted
    )


def cancel(owned: Owned, operation: bytes, etas: Mapping[str, int]) -> Calls:
    """Withdraw an announced call wherever it is announced."""
    found = [name for name in owned.addresses if etas.get(name)]
    return tuple(owned.call(name, "cancel_scheduled", operation) for name in found)


def proposed_owner(authorities: Mapping[str, Authority]) -> str:
    """Give whom ownership is offered to; the same everywhere, or no one batch can take it."""
    offered = {each.pending_owner for each in authorities.values() if int(each.pending_owner, 16)}
    if len(offered) > 1:
        raise ConfigError(f"ownership is offered to several: {', '.join(sorted(offered))}")
    return offered.pop() if offered else ""


def said(calls: Sequence[NamedCall]) -> str:
    """Write calls in one line, for a batch's description."""
    return "; ".join(str(each) for each in calls)
