"""What the guardian does at once: one call, tried, sent with its key, and read back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent.config import Settings
from agent.errors import ConfigError
from agent.network import LOCAL, Network, local_role
from agent.owner.acts import ORACLE, Owned
from agent.owner.authority import Office
from agent.owner.words import moment, stretch
from contracts.calls import NamedCall
from contracts.halts import (
    LIQUIDATION_BUDGET_S,
    MAX_GUARDIAN_PAUSE_S,
    MIN_GUARDIAN_AI_PAUSE_S,
    Controls,
    DecisionKind,
    PauseScope,
    liquidation_resumes_at,
)
from contracts.packing import pack_amount
from contracts.risk_oracle import OracleState
from contracts.units import MarketId, UnixS
from relayer.chain.reads import read_chain
from relayer.chain.wallet import Wallet
from relayer.delivery.fees import FeeRules
from relayer.signing.keys import Key
from relayer.signing.keys_source import open_key

Effect = Callable[[OracleState, UnixS], str | None]

STOPS = {
    PauseScope.NEW_RISK: "nothing is opened or increased",
    PauseScope.AI_INPUT: "no signed decision is taken, ramps stand still, nothing is opened",
    PauseScope.WITHDRAWALS: "nothing is withdrawn, nothing is opened",
    PauseScope.LIQUIDATION: "nothing is liquidated, nothing is opened",
    PauseScope.EVERYTHING: "nothing goes on but adding margin, prices and requests to close",
}
"""What each pause stops (docs/contracts.md, every action)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One call of the guardian's: what it does in words, and what shows that it took effect.

    `effect` says until when it lasts and what undoes it; None where the contract does not show it.
    """

    call: NamedCall
    does: str
    effect: Effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What became of an act; without a transaction nothing was sent."""

    act: Act
    by: str
    refused: str | None
    transaction: str | None = None
    block_number: int | None = None
    lasts: str | None = None

    @property
    def holds(self) -> bool:
        """Tell whether it took effect, or would."""
        return self.refused is None and (self.transaction is None or self.lasts is not None)


def halt_scope(owned: Owned, scope: PauseScope, duration_s: int) -> Act:
    """Pause one scope."""
    least = 1
    if scope in {PauseScope.AI_INPUT, PauseScope.EVERYTHING}:
        least = MIN_GUARDIAN_AI_PAUSE_S
    require_stretch(duration_s, least)

    def effect(oracle: OracleState, now_s: UnixS) -> str | None:
        until_s = until_of(oracle.controls, scope)
        if until_s <= now_s:
            return None
        more = ""
        if scope is PauseScope.EVERYTHING:
            ends = moment(oracle.controls.everything_liquidation_until_s)
            more = f"; of liquidation until {ends}"
        return f"until {moment(until_s)}{more}; sooner: aml resume {word(scope)} (the owner's)"

    call = owned.call(ORACLE, "pause", int(scope), duration_s)
    return Act(call=call, does=STOPS[scope], effect=effect)


def halt_market(owned: Owned, market: MarketId, symbol: str, duration_s: int) -> Act:
    """Pause one market: opening, closing, withdrawing, and liquidation as far as its hour goes."""
    require_stretch(duration_s, 1)

    def effect(oracle: OracleState, now_s: UnixS) -> str | None:
        guard = oracle.guards[market]
        if guard.pause_until_s <= now_s:
            return None
        liquidation = moment(liquidation_resumes_at(oracle.controls, guard))
        return (
            f"until {moment(guard.pause_until_s)}, of liquidation until {liquidation}; "
            f"sooner: aml resume {symbol} (the owner's)"
        )

    does = f"{symbol}: nothing is opened, closed or withdrawn, and its ramp stands still"
    return Act(
        call=owned.call(ORACLE, "pause_market", int(market), duration_s), does=does, effect=effect
    )


def limit_market(
    owned: Owned, oracle: OracleState, market: MarketId, symbol: str, duration_s: int
) -> Act:
    """Take no new positions in one market; closing and liquidation go on."""
    require_stretch(duration_s, 1)
    values, guard = oracle.markets[market].values, oracle.guards[market]
    cap_e2 = min(values.cap_e2, guard.limit_cap_e2 or values.cap_e2)
    amount = min(
        values.open_interest_cap_usdc,
        guard.limit_open_interest_cap_usdc or values.open_interest_cap_usdc,
    )

    def effect(after: OracleState, now_s: UnixS) -> str | None:
        limit = after.guards[market]
        if not (limit.limits(now_s) and limit.limit_reduce_only):
            return None
        return f"until {moment(limit.limit_until_s)}; sooner: aml resume {symbol} (the owner's)"

    limit = (int(market), int(cap_e2), pack_amount(amount), True, duration_s)
    return Act(
        call=owned.call(ORACLE, "tighten_market", *limit),
        does=f"{symbol}: nothing is opened; closing and liquidation go on",
        effect=effect,
    )


def freeze_market(owned: Owned, market: MarketId, symbol: str) -> Act:
    """Let a market's values no longer move."""

    def effect(oracle: OracleState, _: UnixS) -> str | None:
        if not oracle.markets[market].frozen:
            return None
        return f"until the owner ends it: aml resume {symbol}"

    does = (
        f"{symbol}: its values no longer move, renewals still land; nothing is opened or "
        "withdrawn there, and cross accounts that live on its profit have 300 s"
    )
    return Act(call=owned.call(ORACLE, "freeze_market", int(market)), does=does, effect=effect)


def freeze_kind(owned: Owned, kind: DecisionKind) -> Act:
    """Refuse one kind of signed decision."""

    def effect(oracle: OracleState, _: UnixS) -> str | None:
        if kind not in oracle.controls.disabled_kinds:
            return None
        return f"until the owner ends it: aml resume {word(kind)}"

    call = owned.call(ORACLE, "disable_decision_kind", int(kind))
    return Act(call=call, does=f"signed decisions of kind {word(kind)} are refused", effect=effect)


def revert_market(owned: Owned, market: MarketId, symbol: str) -> Act:
    """Undo a market's last accepted change, toward safety only."""

    def effect(oracle: OracleState, _: UnixS) -> str | None:
        state = oracle.markets[market]
        if not state.held:
            return None
        cap, amount = state.values.cap_e2 / 100, state.values.open_interest_cap_usdc
        return (
            f"cap {cap:.2f}x, open interest {amount:,} USDC, until a signed update changes them; "
            "to keep the next update out as well: aml freeze "
            f"{symbol}"
        )

    does = (
        f"{symbol}: the tighter of its last and previous values; open positions keep the lower "
        "maintenance, the ramp is cancelled"
    )
    return Act(call=owned.call(ORACLE, "revert_market", int(market)), does=does, effect=effect)


def until_of(controls: Controls, scope: PauseScope) -> UnixS:
    """Give when a pause ends."""
    return {
        PauseScope.NEW_RISK: controls.new_risk_until_s,
        PauseScope.AI_INPUT: controls.ai_input_until_s,
        PauseScope.WITHDRAWALS: controls.withdrawals_until_s,
        PauseScope.LIQUIDATION: controls.liquidation_until_s,
        PauseScope.EVERYTHING: controls.everything_until_s,
    }[scope]


def word(meant: PauseScope | DecisionKind) -> str:
    """Write a scope or kind as it is typed."""
    return meant.name.lower().replace("_", "-")


def require_stretch(duration_s: int, least_s: int) -> None:
    """Refuse what the contract would refuse of a guardian."""
    if not least_s <= duration_s <= MAX_GUARDIAN_PAUSE_S:
        raise ConfigError(
            f"--for {stretch(duration_s)}: the guardian's is at least {stretch(least_s)} and at "
            f"most {stretch(MAX_GUARDIAN_PAUSE_S)} here (of liquidation "
            f"{stretch(LIQUIDATION_BUDGET_S)} in all); for longer: aml owner pause"
        )


def guardian_key(network: Network, settings: Settings, source: str | None) -> Key:
    """Open the guardian's key.

    Raises
    ------
    ConfigError
        No key is named; the message says where one can be.
    """
    keys = settings.keys
    named = source or (keys.guardian if keys else None)
    if named is not None:
        return open_key(named, keys.password_file if keys else None)
    if network.name == LOCAL:
        return local_role("guardian")
    raise ConfigError(
        "no guardian's key: name it in [keys] guardian or by --key (a file, credential:NAME or "
        "kms:REGION/KEY); --dry-run needs none"
    )


async def try_act(office: Office, act: Act, key: Key | None) -> Done:
    """Ask the contract what it would say, without sending."""
    by = key.address if key else office.authorities[ORACLE].guardian
    return Done(act=act, by=by, refused=await office.tried(act.call, by))


async def carry_out(office: Office, act: Act, key: Key) -> Done:
    """Send an act with the guardian's key, and read back what the contract has then.

    Raises
    ------
    ConfigError
        The key is neither the guardian's nor the owner's.
    """
    authority = office.authorities[ORACLE]
    if key.address not in (authority.guardian, authority.owner):
        raise ConfigError(
            f"the key is {key.address}'s, and the guardian is {authority.guardian}: nothing sent"
        )
    tried = await try_act(office, act, key)
    if tried.refused is not None:
        return tried
    wallet = Wallet(office.endpoint, key, FeeRules())
    receipt = await wallet.post(act.call.address, act.call.payload)
    state = await read_chain(office.endpoint, office.deployment)
    return Done(
        act=act,
        by=key.address,
        refused=None,
        transaction="0x" + receipt.tx_hash.hex(),
        block_number=receipt.block_number,
        lasts=act.effect(state.oracle, UnixS(state.timestamp_s)),
    )
