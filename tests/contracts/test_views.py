"""What open positions are worth to the pool: equal to the arithmetic, and silent without prices."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.book_views import DUST
from contracts.book_words import Flow, encode_flow, encode_rules
from contracts.margin import charge
from contracts.margin_price import TradeRules, price_paid, trade_cost, widened_price
from contracts.packing import PriceHalf
from contracts.refusals import Refusal
from tests.contracts import margin_books
from tests.contracts.chain import Contract, RefusedError
from tests.contracts.doubles import double
from tests.contracts.margin_world import E18, MARKET_RULES
from tests.contracts.world import (
    OWNER,
    PRICE,
    STRANGER,
    FeedWorld,
    OracleWorld,
    moved,
    price_word,
)

ZERO = "0x" + "00" * 20
WIDE = PRICE._replace(confidence=40)  # 2,000 ppm, the class's limit for new risk
MARK = PRICE.mantissa << PRICE.exponent
SIZES = st.integers(0, 2**100)
PRICES_E18 = st.integers(-(2**90), 2**90)


class ViewsWorld:
    """PriceFeed, RiskOracle and MarginViews; the engine is what a test says."""

    def __init__(self) -> None:
        self.feed = FeedWorld(markets=3)
        self.oracle = OracleWorld(markets=3, evm=self.feed.evm)
        self.oracle.update()
        self.evm = self.feed.evm
        self.engine = double(self.evm, "ViewsEngine", OWNER)
        at = [self.engine.address, self.feed.address, self.oracle.address, *[STRANGER] * 3]
        self.views = Contract(self.evm, "MarginViews", OWNER, at)

    def say(self, market=0, sizes=(0, 0), bases=(0, 0), flow=(0, 0, 0), rules=1, **rest):
        """Say what a market is."""
        settled, settlement, pot = rest.get("settled", False), rest.get("settlement", 0), 0
        index, rate, at_s = flow
        flow_word = encode_flow(Flow(index=index, rate=rate, at_s=at_s, settled=settled))
        found = (sizes[0] | sizes[1] << 120, *bases, flow_word, rules, settlement, pot)
        self.engine.send(OWNER, "set_market", market, found)

    def price(self, half: PriceHalf = PRICE, slot: int = 0) -> None:
        """Post prices of markets 2 × slot and the next."""
        self.feed.wait(1)
        self.feed.post(self.feed.message(price_word(half, half if slot == 0 else PRICE, slot)))

    def exposure(self, since_ms: int = 0):
        """Ask as the pool does."""
        return self.views.read("exposure", since_ms)


@pytest.fixture(scope="module")
def shared():
    world = ViewsWorld()
    world.price(WIDE)
    return world


@pytest.fixture
def world():
    return ViewsWorld()


def market(sizes, bases, index=0, rate=0, at_s=0):
    return margin_books.Market(
        long_size=sizes[0],
        short_size=sizes[1],
        long_basis=bases[0],
        short_basis=bases[1],
        flow=Flow(index=index, rate=rate, at_s=at_s),
        rules=1,
        settlement_price=0,
        pot=0,
    )


class TestExposure:
    """The pool's view."""

    @settings(max_examples=200, deadline=None)
    @given(
        sizes=st.tuples(SIZES, SIZES).filter(lambda sizes: max(sizes) >= DUST),
        entries=st.tuples(PRICES_E18, PRICES_E18),
        index=st.integers(-(2**90), 2**90),
        rate=st.integers(-(2**60), 2**60),
        elapsed=st.integers(0, 10**7),
    )
    def test_exposure__any_market__equals_the_sum_of_both_sides(
        self, shared, sizes, entries, index, rate, elapsed
    ):
        at_s = shared.feed.now_s - elapsed
        bases = (sizes[0] * entries[0], sizes[1] * entries[1])
        shared.say(sizes=sizes, bases=bases, flow=(index, rate, at_s))
        found = market(sizes, bases, index, rate, at_s)
        up, down = widened_price(1, MARK, 2_000), widened_price(-1, MARK, 2_000)
        at_up = found.profits(up, shared.feed.now_s)
        at_down = found.profits(down, shared.feed.now_s)
        middle = sum(found.profits(MARK, shared.feed.now_s))
        high, low = max(sum(at_up), sum(at_down)), min(sum(at_up), sum(at_down))
        kept = charge(sum(sizes), MARK, 10_000)
        reserve = max(0, at_up[0]) + max(0, at_down[1]) + kept
        assert shared.exposure() == (0, high, low, reserve)
        assert shared.views.read("exposure_at_last_prices") == (0, middle)
        assert low - 1 <= middle <= high + 1

    def test_exposure__several_markets__adds_up_with_debts(self, world):
        world.price()
        world.price(slot=1)
        world.say(0, sizes=(E18, 0), bases=(E18 * MARK, 0))
        world.say(1)
        world.say(2, sizes=(0, 2 * E18), bases=(0, 2 * E18 * (MARK + E18)))
        world.engine.send(OWNER, "set_debts", 77)
        debts, high, low, _ = world.exposure()
        assert (debts, world.views.read("exposure_at_last_prices")) == (77, (77, 2_000_000))
        assert low <= 2_000_000 <= high

    def test_exposure__nothing_open__needs_no_price(self, world):
        world.say(0)
        world.say(2)
        assert world.exposure(2**63) == (0, 0, 0, 0)

    def test_exposure__dust_that_cuts_left__needs_no_price_and_counts_nothing(self, world):
        world.say(sizes=(DUST - 1, DUST - 1), bases=(E18 * MARK, 0))
        assert world.exposure(2**63) == (0, 0, 0, 0)

    def test_exposure__old_price__refuses_exposure_unknown(self, world):
        world.price()
        world.say(sizes=(DUST, 0))
        world.feed.wait(45)
        world.exposure()
        world.feed.wait(1)
        with pytest.raises(RefusedError, match="EXPOSURE_UNKNOWN"):
            world.exposure()
        world.views.read("exposure_at_last_prices")

    def test_exposure__price_before_the_request__refuses_exposure_unknown(self, world):
        world.price()
        world.say(sizes=(0, DUST))
        assert world.exposure(world.feed.now_ms)
        with pytest.raises(RefusedError, match="EXPOSURE_UNKNOWN"):
            world.exposure(world.feed.now_ms + 1)

    def test_exposure__unconfirmed__refuses_exposure_unknown(self, world):
        world.price()
        world.say(sizes=(DUST, DUST))
        world.price(moved(PRICE, 100_000))
        with pytest.raises(RefusedError, match="EXPOSURE_UNKNOWN"):
            world.exposure()

    def test_exposure__settled__is_known_for_ever_and_not_widened(self, world):
        basis = 5 * E18 * MARK
        world.say(sizes=(5 * E18, 0), bases=(basis, 0), settled=True, settlement=MARK + E18)
        world.feed.wait(10**7)
        debts, high, low, _ = world.exposure(2**63)
        assert (debts, high, low) == (0, 5_000_000, 5_000_000)

    def test_withdrawals_open__paused__says_so(self, world):
        assert world.views.read("withdrawals_open")
        for scope in (3, 5):
            world.oracle.send(OWNER, "pause", scope, 600)
            assert not world.views.read("withdrawals_open")
            world.oracle.send(OWNER, "resume", scope)


class TestQuote:
    """What a trade would pay."""

    @settings(max_examples=100, deadline=None)
    @given(
        sizes=st.tuples(st.integers(0, 10**24), st.integers(0, 10**24)),
        size=st.integers(10**12, 10**23),
        buys=st.booleans(),
        opens=st.booleans(),
    )
    def test_quote__any_trade__equals_the_arithmetic(self, shared, sizes, size, buys, opens):
        shared.say(sizes=sizes, rules=encode_rules(MARKET_RULES))
        widening = 2_000 if opens else min(2_000, MARKET_RULES.penalty_min_ppm)
        rules = TradeRules(
            fee_ppm=MARKET_RULES.fee_ppm,
            spread_ppm=1_000 + widening,
            impact_ppm=MARKET_RULES.impact_ppm,
            size_scale=_scale(shared),
        )
        direction = 1 if buys else -1
        cost = trade_cost(direction, size, MARK, sizes[0] - sizes[1], rules)
        paid, spread, impact, fee = shared.views.read("quote", 0, buys, opens, size)
        assert spread + impact == cost
        assert fee == charge(size, MARK, MARKET_RULES.fee_ppm)
        if cost * 10**30 < size * MARK - size:
            assert paid == price_paid(direction, size, MARK, cost)

    def test_quote__market_without_rules__refuses_unknown_market(self, world):
        with pytest.raises(RefusedError, match="UNKNOWN_MARKET"):
            world.views.read("quote", 0, True, True, E18)

    def test_quote__no_price_yet__refuses_exposure_unknown(self, world):
        world.say()
        with pytest.raises(RefusedError, match="EXPOSURE_UNKNOWN"):
            world.views.read("quote", 0, True, True, E18)

    def test_quote__largest_size__has_a_price_for_a_buyer(self, world):
        world.say()
        world.price()
        assert world.views.read("quote", 0, True, True, 2**120 - 1)[0] > MARK

    @pytest.mark.parametrize("size", [0, 2**120, 2**256 - 1])
    def test_quote__zero_or_huge__refuses_amount_out_of_range(self, world, size):
        world.say()
        world.price()
        with pytest.raises(RefusedError, match="AMOUNT_OUT_OF_RANGE"):
            world.views.read("quote", 0, True, True, size)


class TestReading:
    """Names that are not of a position, and what it is wired to."""

    @pytest.mark.parametrize(("market", "mode"), [(0, 0), (0, 3), (65_536, 1), (2**255, 2)])
    def test_position_view__no_such_name__refuses_unknown_choice(self, world, market, mode):
        with pytest.raises(RefusedError, match="UNKNOWN_CHOICE"):
            world.views.read("position_view", STRANGER, market, mode)

    @pytest.mark.parametrize("missing", range(6))
    def test_deployment__without_an_address__refuses_address_missing(self, world, missing):
        addresses = [STRANGER] * 6
        addresses[missing] = ZERO
        with pytest.raises(RefusedError) as caught:
            Contract(world.evm, "MarginViews", OWNER, addresses)
        assert caught.value.refusal is Refusal.ADDRESS_MISSING


def _scale(world):
    scale_usdc = world.oracle.parameters()["size_scale_usdc"]
    return scale_usdc * 10**6
