"""What is asked and answered over HTTP; integers that may pass 2^53 are decimal strings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

from contracts.fields import checksummed

UInt = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,77})$")]
"""A whole number, not below 0."""
Int = Annotated[str, StringConstraints(pattern=r"^(0|-?[1-9][0-9]{0,77})$")]
"""A whole number."""
Hex32 = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-f]{64}$")]
Symbol = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:-]{0,31}$")]
Horizon = Literal[3_600, 14_400, 86_400]

SideName = Literal["long", "short"]
ModeName = Literal["isolated", "cross"]
AdjustmentName = Literal["fixed", "managed"]


def whole(value: object) -> object:
    """Read 600.0 as JSON means it: as the whole number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def own_case(address: str) -> str:
    """Refuse an address whose mixed case is not its EIP-55 checksum: a digit was mistyped."""
    if address[2:] not in (address[2:].lower(), address[2:].upper()):
        expected = checksummed(address.lower())
        if address != expected:
            raise ValueError("the address's checksum is wrong: a digit was mistyped")
    return address


Address = Annotated[
    str, StringConstraints(pattern=r"^0x[0-9a-fA-F]{40}$"), AfterValidator(own_case)
]


Whole = Annotated[int, BeforeValidator(whole)]
Ratio = Annotated[int, Field(ge=1, le=500_000), BeforeValidator(whole)]


class Schema(BaseModel):
    """A body: frozen, strict, and closed to unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class QuoteRequest(Schema):
    """What terms are asked for; without `margin_e6`, isolated margin is as much as is needed."""

    account: Address
    market: Symbol
    side: SideName
    mode: ModeName | None = Field(default=None, description="the operator's choice, if absent")
    adjustment: AdjustmentName = "managed"
    size_e18: UInt
    leverage_e2: Whole = Field(ge=0, le=65_535, description="hundredths: 1250 is 12.5x")
    margin_e6: UInt | None = None


class Costs(Schema):
    """What a trade costs beside the mark."""

    spread_e6: UInt
    impact_e6: UInt
    fee_e6: UInt


class Chance(Schema):
    """Probability of liquidation within a horizon."""

    horizon_s: Horizon
    probability: float = Field(ge=0, le=1)


class Figures(Schema):
    """What one size at one leverage comes to, at the mark of now."""

    size_e18: UInt
    leverage_e2: int
    notional_e6: UInt
    margin_e6: UInt
    deposit_needed_e6: UInt
    price_paid_e18: UInt
    costs: Costs
    position_size_e18: UInt
    liquidation_price_e18: UInt | None
    chances: tuple[Chance, ...]
    chance_method: str | None
    risk_score_ppm: int = Field(ge=0, le=1_000_000)
    reasons: tuple[str, ...]


class TermsBody(Schema):
    """`PositionTerms` as the contract takes them, field by field."""

    observed_at_ms: int
    valid_until_ms: int
    account: str
    market: int
    side: int
    margin_mode: int
    adjustment: int
    max_notional_e6: UInt
    max_leverage_e2: int
    maintenance_ppm: int
    maintenance_ceiling_ppm: int
    risk_score_ppm: int
    nonce: int
    model_hash: Hex32
    evidence_hash: Hex32


class QuoteAnswer(Schema):
    """Terms with everything that a trader wants to know of them."""

    market: str
    price_e18: UInt
    cap_e2: int
    account_cap_e2: int
    size_cap_e2: int
    maintenance_ppm: int
    maintenance_ceiling_ppm: int
    acceptable_price_e18: UInt
    execution_fee_e6: UInt
    wanted: Figures
    alternatives: dict[str, Figures]
    terms: TermsBody
    message_hash: Hex32 | None = None
    signatures: tuple[Annotated[str, StringConstraints(pattern=r"^0x[0-9a-f]{128}$")], ...] = ()


class Passes(Schema):
    """What would pass with everything else as asked; null where no value does."""

    leverage_e2: int | None = None
    size_e18: UInt | None = None


class Problem(BaseModel):
    """An error as RFC 9457 has it; the last three only where terms are refused."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""
    reason: str | None = None
    field: str | None = None
    passes: Passes | None = None


class MarketRow(Schema):
    """One market now."""

    market: int
    symbol: str
    class_id: int
    price_e18: UInt
    confidence_ppm: int
    price_age_s: int | None
    opens: bool
    why_not: str
    cap_e2: int
    maintenance_ppm: int
    open_interest_cap_usdc: UInt
    long_e18: UInt
    short_e18: UInt
    expires_in_s: int | None


class Markets(Schema):
    """All markets at one block."""

    block_number: int
    at_ms: int
    markets: tuple[MarketRow, ...]


class LimitRow(Schema):
    """What may be decided for one market now, and how far."""

    market: int
    symbol: str
    live: bool
    why_not: str
    cap_e2: int
    lowest_cap_e2: int
    highest_cap_e2: int
    tighter_to_e2: int
    looser_to_e2: int
    looser_at_s: int
    drift_left_ppm: int
    maintenance_ppm: int
    ramp_ends_s: int | None
    expires_at_s: int | None


class Limits(Schema):
    """Which decisions are live, over what, under which bounds."""

    block_number: int
    at_ms: int
    decisions: dict[str, bool]
    paused_until_s: dict[str, int]
    markets: tuple[LimitRow, ...]


class HeldPosition(Schema):
    """One position of a hypothetical book; `maintenance_ppm` null: the market's of now."""

    market: Symbol
    side: SideName
    mode: ModeName
    size_e18: UInt
    entry_price_e18: UInt
    leverage_e2: Whole = Field(ge=100, le=65_535)
    collateral_e6: UInt = "0"
    maintenance_ppm: Ratio | None = None


class PriceStep(Schema):
    """Prices at one moment of a hypothetical path; a market left out stays where it was."""

    prices_e18: dict[Symbol, UInt] = Field(
        max_length=64, json_schema_extra={"additionalProperties": False}
    )


class SimulateRequest(Schema):
    """A hypothetical book and the prices that it would live through."""

    balance_e6: Int = "0"
    positions: tuple[HeldPosition, ...] = Field(min_length=1, max_length=32, strict=False)
    path: tuple[PriceStep, ...] = Field(max_length=200, strict=False)


class SimulatedPosition(Schema):
    """One position at one moment."""

    market: str
    mode: ModeName
    price_e18: UInt
    profit_e6: Int
    equity_e6: Int
    initial_e6: UInt
    maintenance_e6: UInt
    liquidation_price_e18: UInt | None
    liquidatable: bool


class SimulatedStep(Schema):
    """The book at one moment; `equity_e6` and so on are the cross account's."""

    step: int
    equity_e6: Int
    initial_e6: UInt
    maintenance_e6: UInt
    free_margin_e6: UInt
    withdrawable_e6: UInt
    liquidatable: bool
    positions: tuple[SimulatedPosition, ...]


class SimulateAnswer(Schema):
    """Now, and after each step; nothing is signed, charged or closed on the way."""

    steps: tuple[SimulatedStep, ...]
    first_liquidation_step: int | None


class OpenPosition(Schema):
    """One open position of an account."""

    market: str
    mode: ModeName
    side: SideName
    adjustment: AdjustmentName
    size_e18: UInt
    entry_price_e18: Int
    price_e18: UInt
    leverage_e2: int
    collateral_e6: UInt
    profit_e6: Int
    equity_e6: Int
    maintenance_e6: UInt
    maintenance_ppm: int
    maintenance_ceiling_ppm: int
    liquidation_price_e18: UInt | None
    liquidatable: bool
    chances: tuple[Chance, ...]
    chance_method: str | None


class RiskProfile(Schema):
    """What is known of an account: its chance of a liquidation in 30 days, its share of caps."""

    judged: bool
    has_history: bool
    risk: float | None
    cap_share_ppm: int
    words: str
    reasons: tuple[str, ...] = ()
    would_change: tuple[str, ...] = ()


class AccountAnswer(Schema):
    """An account as it stands."""

    account: str
    block_number: int
    at_ms: int
    balance_e6: Int
    equity_e6: Int
    opening_equity_e6: Int
    initial_e6: UInt
    maintenance_e6: UInt
    liquidatable: bool
    positions: tuple[OpenPosition, ...]
    profile: RiskProfile


class Cure(Schema):
    """What would end a warning: margin to add, or size to take off."""

    add_margin_e6: UInt | None = None
    reduce_size_e18: UInt | None = None


class WarningRow(Schema):
    """An early warning as it stands; `key` names the position or account, `sequence` counts.

    `chances` are of a liquidation within 15 min, 1 h, 4 h and 24 h, by `method`; a cross account's
    are those of its markets together.
    """

    sequence: int
    at_ms: int
    key: str = ""
    account: str
    market: str | None
    mode: ModeName | None
    level: str
    words: str
    chances: tuple[float, ...] | None = None
    method: str | None = None
    next_price_e18: UInt | None = None
    cure: Cure = Cure()
    link: str = ""


class Warnings(Schema):
    """The warnings that stand, the most urgent first."""

    warnings: tuple[WarningRow, ...]


class DecisionRow(Schema):
    """A decision by its hashes, and how far it came."""

    kind: str
    round: int
    decided_at_ms: int
    state: str
    message_hash: Hex32
    evidence_hash: Hex32
    model_hash: Hex32 | None
    tx_hash: Hex32 | None
    block_number: int | None
    reason: str


class Decisions(Schema):
    """The newest decisions, newest first."""

    decisions: tuple[DecisionRow, ...]


class Health(Schema):
    """Whether something is well, and what is not."""

    ok: bool
    faults: tuple[str, ...] = ()
