"""Keys, states, messages and databases that the tests of the hands share; all of it seeded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import coincurve
from prometheus_client import CollectorRegistry

from contracts.envelope import Configuration
from contracts.halts import NO_CONTROLS, NO_GUARD
from contracts.messages import Domain, PriceRound, RiskUpdate
from contracts.packing import (
    MarketParameters,
    PriceQuote,
    pack_price_words,
    pack_risk_word,
    split_price,
    split_risk_word,
)
from contracts.price_feed import ClassRules, FeedState, MarketPrice
from contracts.risk_bounds import ClassBounds, Values, values_of
from contracts.risk_oracle import MarketState, OracleState
from contracts.units import (
    LeverageE2,
    MarketId,
    Ppm,
    PriceE18,
    UnixMs,
    UnixS,
    WholeUsdc,
    maintenance_from_cap,
)
from relayer import migrations
from relayer.metrics import Metrics, Vocabulary
from relayer.signing.keys import Key
from relayer.signing.values import (
    OwnMark,
    Proposal,
    RefusalReason,
    SignedMessage,
    SignerRules,
    SignerView,
)
from relayer.storage import Database

CHAIN_ID = 6343
PRICE_FEED = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
RISK_ORACLE = "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"
NOW_S = UnixS(1_750_000_000)
NOW_MS = UnixMs(NOW_S * 1_000)
PRICE = PriceE18(60_000 * 10**18)

RULES = ClassRules(
    rate_ppm_per_s=500,
    window_ms=120_000,
    max_age_ms=30_000,
    max_confidence_ppm=Ppm(20_000),
    new_risk_age_ms=60_000,
)
BOUNDS = ClassBounds(
    min_cap_e2=LeverageE2(100),
    max_cap_e2=LeverageE2(5_000),
    floor_maintenance_ppm=Ppm(5_000),
    profit_share_ppm=Ppm(500_000),
    max_open_interest_cap_usdc=WholeUsdc(2_047 << 14),
    min_size_scale_usdc=WholeUsdc(1_000),
    max_spread_ppm=Ppm(10_000),
    notice_s=300,
    max_validity_s=3_600,
    tighten_ppm=Ppm(500_000),
    loosen_ppm=Ppm(50_000),
    min_step_cap_e2=LeverageE2(10),
    min_step_amount_usdc=WholeUsdc(1_000),
    min_step_spread_ppm=Ppm(100),
    loosen_delay_s=60,
    daily_drift_ppm=Ppm(500_000),
)


def key(number: int) -> Key:
    """A key of the tests, by number."""
    return Key(coincurve.PrivateKey(bytes([number]) * 32))


PRICE_KEYS = tuple(key(number) for number in (11, 12, 13))
RISK_KEYS = tuple(key(number) for number in (21, 22, 23))


def configuration(keys: tuple[Key, ...], digest: bytes = b"\x0c" * 32) -> Configuration:
    return Configuration(
        config_digest=digest,
        config_count=2,
        threshold=2,
        signers=tuple(one.address for one in keys),
    )


def market_price(price_e18: PriceE18 = PRICE, *, age_ms: int = 5_000) -> MarketPrice:
    mantissa, exponent = split_price(price_e18)
    return MarketPrice(
        mantissa=mantissa,
        exponent=exponent,
        average=mantissa,
        confidence=2,
        observed_at_ms=UnixMs(NOW_MS - age_ms),
        class_id=1,
        unconfirmed=False,
    )


def feed_state(markets: int = 4, latest_round: int = 9) -> FeedState:
    return FeedState(
        config=configuration(PRICE_KEYS),
        latest_round=latest_round,
        rules={1: RULES},
        markets=tuple(market_price() for _ in range(markets)),
    )


def parameters(market: int, cap_e2: int = 1_000) -> MarketParameters:
    cap = LeverageE2(cap_e2)
    return MarketParameters(
        market=MarketId(market),
        cap_e2=cap,
        maintenance_ppm=maintenance_from_cap(cap),
        open_interest_cap_usdc=WholeUsdc(1_000_448),
        size_scale_usdc=WholeUsdc(100_032),
        spread_ppm=Ppm(500),
        reduce_only=False,
        ramp_s=0,
    )


def market_values(cap_e2: int = 1_000) -> Values:
    return values_of(split_risk_word(pack_risk_word(parameters(0, cap_e2))))


def market_state(cap_e2: int = 1_000) -> MarketState:
    values = market_values(cap_e2)
    return MarketState(
        values=values,
        previous=values,
        frozen=False,
        revertible=False,
        held=False,
        class_id=1,
        ai_epoch=0,
        drift_used=0,
        validity_s=600,
        observed_at_ms=UnixMs(NOW_MS - 60_000),
        ramp_from_ppm=maintenance_from_cap(LeverageE2(cap_e2)),
        changed_at_s=UnixS(NOW_S - 86_400),
        ramp_s=0,
    )


def oracle_state(markets: int = 4, latest_round: int = 9) -> OracleState:
    return OracleState(
        config=configuration(RISK_KEYS),
        latest_round=latest_round,
        bounds={1: BOUNDS},
        markets=tuple(market_state() for _ in range(markets)),
        guards=(NO_GUARD,) * markets,
        controls=NO_CONTROLS,
    )


def quote(market: int, price_e18: int = PRICE, *, age_ms: int = 0) -> PriceQuote:
    return PriceQuote(
        market=MarketId(market),
        price_e18=PriceE18(price_e18),
        confidence_ppm=Ppm(100),
        observed_at_ms=UnixMs(NOW_MS - age_ms),
    )


def price_round(markets: int = 4, round_: int = 10, price_e18: int = PRICE) -> PriceRound:
    quotes = [quote(market, price_e18) for market in range(markets)]
    return PriceRound(
        round=round_,
        observed_at_ms=NOW_MS,
        valid_until_ms=UnixMs(NOW_MS + 30_000),
        evidence_hash=b"\xee" * 32,
        words=pack_price_words(quotes, NOW_MS),
    )


def risk_update(markets: int = 4, round_: int = 10, cap_e2: int = 990) -> RiskUpdate:
    return RiskUpdate(
        round=round_,
        observed_at_ms=NOW_MS,
        valid_until_ms=UnixMs(NOW_MS + 600_000),
        model_hash=b"\xab" * 32,
        evidence_hash=b"\xee" * 32,
        words=tuple(pack_risk_word(parameters(m, cap_e2)) for m in range(markets)),
    )


def price_domain(digest: bytes = b"\x0c" * 32) -> Domain:
    return Domain(chain_id=CHAIN_ID, contract=PRICE_FEED, config_digest=digest)


def risk_domain(digest: bytes = b"\x0c" * 32) -> Domain:
    return Domain(chain_id=CHAIN_ID, contract=RISK_ORACLE, config_digest=digest)


def price_proposal(message: PriceRound | None = None) -> Proposal:
    return Proposal(message=message or price_round(), domain=price_domain())


def risk_proposal(message: RiskUpdate | None = None) -> Proposal:
    return Proposal(message=message or risk_update(), domain=risk_domain())


def signer_rules() -> SignerRules:
    return SignerRules(price_feed=PRICE_FEED, risk_oracle=RISK_ORACLE)


def signer_view(markets: int = 4) -> SignerView:
    marks = {
        MarketId(m): OwnMark(market=MarketId(m), price_e18=PRICE, observed_at_ms=NOW_MS)
        for m in range(markets)
    }
    return SignerView(
        now_ms=NOW_MS,
        chain_id=CHAIN_ID,
        feed=feed_state(markets),
        oracle=oracle_state(markets),
        marks=marks,
    )


def sign_with(proposal: Proposal, keys: tuple[Key, ...]) -> SignedMessage:
    """Sign as a quorum of these keys would have."""
    ascending = sorted(keys, key=lambda one: int(one.address, 16))
    return SignedMessage(
        message=proposal.message,
        domain=proposal.domain,
        message_hash=proposal.digest,
        signatures=tuple(one.sign_digest(proposal.digest) for one in ascending),
        signers=tuple(one.address for one in ascending),
        refusals={},
    )


def renewed(proposal: Proposal, **changes: object) -> Proposal:
    """The same proposal with fields of its message changed."""
    message = replace(proposal.message, **changes)  # type: ignore[arg-type]
    return Proposal(message=message, domain=proposal.domain)


def metrics(signers: tuple[str, ...] = ("signer-0", "signer-1", "signer-2")) -> Metrics:
    vocabulary = Vocabulary(
        hold_reasons=("no_quorum",),
        refusal_reasons=tuple(reason.value for reason in RefusalReason),
        signers=signers,
        venues=(),
        markets=(),
    )
    return Metrics(CollectorRegistry(), vocabulary)


@asynccontextmanager
async def database(where: Path | str) -> AsyncIterator[Database]:
    """A migrated database: of a URL, or SQLite in a folder."""
    url = where if isinstance(where, str) else f"sqlite:///{where}/aml.sqlite"
    migrations.upgrade(url)
    opened = Database.open(url)
    try:
        yield opened
    finally:
        await opened.close()
