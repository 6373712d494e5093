"""The field's incidents as fixtures: agent, signer and contract each refuse on their own.

Each incident is given to one of the three at a time, as if the other two had let it through. The
contracts are the deployed bytecode, not the mirror.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.decisions import GuardedDecision, Hold, HoldReason
from agent.guard import GuardSettings, guard
from agent.policy import decide
from agent.snapshot import snapshot_of
from contracts.packing import pack_price_words, pack_risk_word
from contracts.refusals import Refusal
from contracts.units import MarketId, Ppm, UnixMs
from relayer.market.feeds import FeedRules, FeedWatch
from relayer.market.values import E18, QuoteRound, StablecoinQuote
from relayer.signing.review import Approve, review
from relayer.signing.values import OwnMark, Proposal, RefusalReason, SignerView
from relayer.signing.values import Refusal as Unsigned
from tests.agent import builders as a
from tests.contracts.world import FIELDS, PRICE, FeedWorld, OracleWorld, moved, price_word, skips
from tests.relayer import builders as b

VENUES = ("a", "b", "c")
LOWEST = PRICE._replace(mantissa=2**31, exponent=0)


def agent_holds(market) -> HoldReason | None:
    """Decide on a market and put the decision before the guards; None where it passes."""
    decision = decide(a.scores(), 1, a.policy())
    assert not isinstance(decision, Hold)
    verdict = guard(decision, market, GuardSettings())
    return verdict.reason if isinstance(verdict, Hold) else None


def seen_with(quotes, stablecoins=()) -> HoldReason | None:
    """Make a snapshot of quotes; give why market 0 is held, None where it is not."""
    taken = QuoteRound(
        quotes=tuple(quotes),
        stablecoins=tuple(stablecoins),
        refused=(),
        faults=(),
        taken_at_ms=a.NOW_MS,
    )
    observed = replace(a.observation(), quotes=taken, histories=(a.history(0),))
    held = [hold.reason for hold in snapshot_of(observed).holds]
    return held[0] if held else None


def signer_says(proposal: Proposal, view: SignerView | None = None) -> RefusalReason | None:
    """Put a message before one signer; None where it signs."""
    keys = b.PRICE_KEYS if proposal.domain.contract == b.PRICE_FEED else b.RISK_KEYS
    verdict = review(proposal, view or b.signer_view(), b.signer_rules(), keys[0].address)
    assert isinstance(verdict, Approve | Unsigned)
    return verdict.reason if isinstance(verdict, Unsigned) else None


def round_of(price_e18: int) -> Proposal:
    """A round that says this price of market 0."""
    words = pack_price_words([b.quote(0, price_e18)], b.NOW_MS)
    return b.renewed(b.price_proposal(), words=words)


def feed_takes(half) -> list[tuple[int, Refusal]]:
    """Offer a price to the feed a second after a sound one; give what it left aside."""
    world = FeedWorld()
    assert skips(world.offer(PRICE)) == []
    world.wait(1)
    left = skips(world.offer(half))
    assert world.read("price", 0)[0] == PRICE.mantissa << PRICE.exponent
    return left


def test_sound__passes_all_three() -> None:
    """Nothing below is refused for a reason of its own making."""
    assert agent_holds(a.market_snapshot()) is None
    assert seen_with(a.quote(venue) for venue in VENUES) is None
    assert signer_says(b.price_proposal()) is signer_says(b.risk_proposal()) is None
    assert skips(FeedWorld().offer(PRICE)) == []
    assert skips(OracleWorld().update(FIELDS)) == []


class TestCapoTuple:
    """Aave CAPO, 2025: of a pair one field was clamped and the other was not."""

    def test_agent__holds(self) -> None:
        decision = decide(a.scores(), 1, a.policy())
        assert not isinstance(decision, Hold)
        clamped = replace(decision, cap_e2=decision.cap_e2 // 2)
        verdict = guard(clamped, a.market_snapshot(), GuardSettings())
        assert isinstance(verdict, Hold)
        assert verdict.reason is HoldReason.SCORES_INCOHERENT
        assert isinstance(guard(decision, a.market_snapshot(), GuardSettings()), GuardedDecision)

    def test_signer__refuses(self) -> None:
        sound = b.parameters(0)
        clamped = replace(sound, maintenance_ppm=Ppm(sound.maintenance_ppm // 2))
        proposal = b.renewed(b.risk_proposal(), words=(pack_risk_word(clamped),))
        assert signer_says(proposal) is RefusalReason.CONTRACT_WOULD_REFUSE

    def test_contract__refuses(self) -> None:
        clamped = FIELDS._replace(cap_e2=FIELDS.cap_e2 - 50)
        assert skips(OracleWorld().update(clamped)) == [(0, Refusal.TUPLE_INCOHERENT)]


class TestRatioAsPrice:
    """Moonwell, 2026: a ratio of about 1 was taken for a price of thousands."""

    def test_agent__holds(self) -> None:
        market = a.market_snapshot(mark=a.mark(price=1.12), posted=a.posted(price=3_000.0))
        assert agent_holds(market) is HoldReason.MARK_FAR_FROM_CHAIN

    def test_signer__refuses(self) -> None:
        assert signer_says(round_of(112 * E18 // 100)) is RefusalReason.OFF_OWN_MARK

    def test_contract__refuses(self) -> None:
        ratio = PRICE._replace(exponent=PRICE.exponent - 12)
        assert feed_takes(ratio) == [(0, Refusal.OUT_OF_BAND)]


class TestDecimals:
    """Term, 2025: a feed's decimals were changed under those who read it."""

    @pytest.mark.parametrize("power", [-10, -6, 2, 10])
    def test_agent__holds(self, power: int) -> None:
        market = a.market_snapshot(mark=replace(a.mark(), price_e18=10 ** (20 + power)))
        assert agent_holds(market) is HoldReason.MARK_FAR_FROM_CHAIN

    @pytest.mark.parametrize("power", [-10, -6, 2, 4])
    def test_signer__refuses(self, power: int) -> None:
        wrong = b.PRICE * 10**power if power > 0 else b.PRICE // 10**-power
        assert signer_says(round_of(wrong)) is RefusalReason.OFF_OWN_MARK

    @pytest.mark.parametrize("bits", [-20, -7, 7, 20])
    def test_contract__refuses(self, bits: int) -> None:
        wrong = PRICE._replace(exponent=PRICE.exponent + bits)
        assert feed_takes(wrong) == [(0, Refusal.OUT_OF_BAND)]


class TestStablecoin:
    """PAX Dollar and others: a venue shows a stablecoin at 1.30."""

    @staticmethod
    def quoted() -> list:
        return [replace(a.quote(venue), quote_currency="USDT") for venue in VENUES]

    @staticmethod
    def at(value: float, venue: str) -> StablecoinQuote:
        return StablecoinQuote(
            venue=venue,
            currency="USDT",
            value_e18=int(value * 100) * E18 // 100,
            observed_at_ms=UnixMs(a.NOW_MS - 100),
        )

    def test_agent__holds(self) -> None:
        off = [self.at(1.30, venue) for venue in VENUES]
        assert seen_with(self.quoted(), off) is HoldReason.STABLECOIN_OFF_PEG
        one = [self.at(1.30, "a"), self.at(1.0, "b"), self.at(1.0, "c")]
        assert seen_with(self.quoted(), one) is None  # one venue alone moves no median

    def test_signer__refuses(self) -> None:
        """Its own venues say 1.00, so its own mark is 30 % away."""
        assert signer_says(round_of(b.PRICE * 13 // 10)) is RefusalReason.OFF_OWN_MARK

    def test_contract__refuses(self) -> None:
        assert feed_takes(moved(PRICE, 300_000)) == [(0, Refusal.OUT_OF_BAND)]


class TestFeedAtItsFloor:
    """LUNA, 2022: a feed stood at the lowest price that it can say, and was believed."""

    def test_agent__holds(self) -> None:
        floor = replace(a.mark(), price_e18=1)
        assert agent_holds(a.market_snapshot(mark=floor)) is HoldReason.MARK_FAR_FROM_CHAIN

    def test_signer__refuses(self) -> None:
        floor = b.renewed(b.price_proposal(), words=(price_word(LOWEST),))
        assert signer_says(floor) in {
            RefusalReason.NOT_CANONICAL,
            RefusalReason.CONTRACT_WOULD_REFUSE,
        }

    @pytest.mark.parametrize(
        "half",
        [
            LOWEST,
            PRICE._replace(mantissa=2**32 - 1, exponent=63),
        ],
    )
    def test_contract__refuses(self, half) -> None:
        assert feed_takes(half) == [(0, Refusal.AT_ABSOLUTE_LIMIT)]


class TestFrozenVenue:
    """A venue repeats itself under fresh stamps while the market moves away from it."""

    @staticmethod
    def look(seconds: int, price: float) -> QuoteRound:
        """Venue a says 100 for ever; b follows the market."""
        quotes = (a.quote("a", price=100.0), a.quote("b", price=price))
        later = [
            replace(each, observed_at_ms=UnixMs(each.observed_at_ms + 1_000 * seconds))
            for each in quotes
        ]
        return QuoteRound(
            quotes=tuple(later), stablecoins=(), refused=(), faults=(), taken_at_ms=a.NOW_MS
        )

    def test_agent__holds(self) -> None:
        watch = FeedWatch(rules=FeedRules())
        for seconds, price in ((-12, 100.0), (-6, 100.1), (0, 100.3)):
            taken, watch = watch.believed(self.look(seconds, price))
        assert [each.venue for each in taken.quotes] == ["b"]
        assert seen_with(taken.quotes) is HoldReason.TOO_FEW_VENUES

    def test_signer__refuses(self) -> None:
        """Its own watch leaves the frozen venue out: its own mark has moved, the proposal's not."""
        moved_on = OwnMark(
            market=MarketId(0), price_e18=b.PRICE * 103 // 100, observed_at_ms=UnixMs(b.NOW_MS)
        )
        view = replace(b.signer_view(), marks={MarketId(0): moved_on})
        assert signer_says(round_of(b.PRICE), view) is RefusalReason.OFF_OWN_MARK

    def test_contract__gives_no_new_risk(self) -> None:
        """What such venues still agree on is unsure, and says so: no new risk at that price."""
        world = FeedWorld()
        apart = PRICE._replace(confidence=60)  # 3,000 ppm, where the class bears 2,000
        assert skips(world.offer(apart)) == []
        assert not world.read("may_carry_new_risk", 0)
        world.wait(31)
        assert not world.read("may_carry_new_risk", 0)
