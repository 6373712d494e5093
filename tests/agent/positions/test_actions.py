"""Facts about signed actions: inside consent, taken by the real contracts, void once it moved."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.positions.action_law import Intended, verdict, written
from agent.positions.actions import (
    LARGEST_FACTOR,
    ActionSettings,
    Case,
    Withheld,
    cure_for,
    intended,
    needed_ppm,
    within_windows,
)
from agent.positions.ahead import Foresight
from agent.positions.chances import Method, Odds
from contracts.book_margin import health, standing
from contracts.book_words import PositionId, account_number, position_id
from contracts.margin import LONG, charge
from contracts.messages import ActionKind, Adjustment, MarginMode, PositionAction
from contracts.refusals import Refusal
from contracts.units import MarketId
from tests.contracts.chain import FAST
from tests.contracts.lockstep_stage import ALICE, BOB, Stage
from tests.contracts.margin_world import KEEPER

pytestmark = pytest.mark.skipif(not FAST, reason="pyrevm has no wheel for this Python")
CALLER = account_number(KEEPER)
MARKET = MarketId(2)
HASHES = (b"\xab" * 32, b"\xee" * 32)
LIKELY = Odds(probabilities=(0.1, 0.4, 0.6, 0.9), method=Method.ALONE)
CALM = Foresight(
    deviations=(0.002, 0.004, 0.008, 0.02),
    tail_long=0.01,
    tail_short=0.01,
    slippage=(0.0005, 0.001, 0.01, 0.1),
    depth_usdc=1e6,
)
THIN = replace(CALM, slippage=(0.2, 0.3, 0.4, 0.5))
ON = ActionSettings(mode="execute")


class Desk:
    """One position on the real contracts, and what would be decided on it."""

    def __init__(self, adjustment: Adjustment = Adjustment.MANAGED) -> None:
        self.stage = Stage()
        terms = self.stage.terms(ALICE, MARKET, LONG, adjustment=adjustment)
        self.identity = self.stage.opened(terms, 20_000)
        self.opened_at = self.stage.world.prices[MARKET]

    def fall(self, percent: int) -> None:
        """Bring the price down, and let its average follow."""
        self.stage.move(MARKET, self.opened_at * (100 - percent) // 100)
        self.stage.rest()

    def case(self, odds: Odds | None = LIKELY, foresight: Foresight | None = CALM) -> Case:
        markets = {} if foresight is None else {MARKET: foresight}
        return Case(
            identity=self.identity,
            odds=odds,
            markets=markets,
            caller=CALLER,
            now_ms=self.now_ms,
        )

    @property
    def now_ms(self) -> int:
        return self.stage.now_s * 1_000

    def decide(
        self, odds: Odds | None = LIKELY, foresight: Foresight | None = CALM
    ) -> Intended | Withheld:
        return intended(self.stage.book, self.stage.seen, self.case(odds, foresight), ON)

    def meant(self, foresight: Foresight = CALM) -> tuple[Intended, PositionAction]:
        what = self.decide(foresight=foresight)
        assert isinstance(what, Intended), what
        return what, written(what, self.now_ms, 60, HASHES)

    def carry_out(self, function: str, action: PositionAction) -> None:
        """Bring it to the contracts, and again where a second round has to agree."""
        size = self.stage.book.position(self.identity).size
        assert self.stage.act(function, action, CALLER) is None
        if function != "adjust" and self.stage.book.position(self.identity).size == size:
            self.stage.later()
            assert self.asked(action)[0]
            assert self.stage.act(function, action, CALLER) is None

    def asked(self, action: PositionAction) -> tuple[bool, bool, str]:
        said = verdict(self.stage.book, self.stage.seen, action, CALLER, self.now_ms)
        return said.may_go, said.may_wait, said.detail


def test_deleverage__below_its_ceiling_and_likely__the_contract_takes_it() -> None:
    desk = Desk()
    desk.fall(14)
    before = desk.stage.book.position(desk.identity)
    what, action = desk.meant()
    assert what.kind is ActionKind.DELEVERAGE
    desk.stage.later()
    assert desk.asked(action) == (True, False, "")
    desk.carry_out("deleverage", action)
    after = desk.stage.book.position(desk.identity)
    assert 0 < after.size < before.size
    found = health(desk.stage.book, desk.stage.seen, desk.identity)
    price = found.standing.now.price
    assert found.equity >= charge(after.size, price, before.ceiling_ppm)  # restored, no more
    assert before.size - after.size <= what.max_size


def test_deleverage__carried_out_once__is_void() -> None:
    desk = Desk()
    desk.fall(14)
    _, action = desk.meant()
    desk.stage.later()
    desk.carry_out("deleverage", action)
    desk.stage.later()
    assert desk.asked(action) == (False, False, "ACTION_VOID")
    assert desk.stage.act("deleverage", action, CALLER) is Refusal.ACTION_VOID


@pytest.mark.parametrize(
    ("fall", "odds", "foresight", "why"),
    [
        (0, LIKELY, CALM, Withheld.NO_TRIGGER),
        (14, replace(LIKELY, probabilities=(0.0, 0.1, 0.2, 0.3)), CALM, Withheld.UNLIKELY),
        (14, None, CALM, Withheld.NO_FORECAST),
        (14, LIKELY, None, Withheld.NO_FORECAST),
        (30, LIKELY, CALM, Withheld.NO_TRIGGER),  # liquidatable: anybody may, by the formula
    ],
)
def test_intended__nothing_called_for__says_why(
    fall: int, odds: Odds | None, foresight: Foresight | None, why: Withheld
) -> None:
    desk = Desk()
    desk.fall(fall)
    assert desk.decide(odds, foresight) is why


def test_intended__a_fixed_position__is_never_touched() -> None:
    desk = Desk(Adjustment.FIXED)
    desk.fall(14)
    for foresight in (CALM, THIN):
        assert desk.decide(foresight=foresight) is Withheld.NOT_MANAGED


def test_verdict__no_price_of_later__waits_and_then_goes() -> None:
    desk = Desk()
    desk.fall(14)
    _, action = desk.meant()
    assert desk.asked(action) == (False, True, "PRICE_BEFORE_ACTION")
    desk.stage.later()
    assert desk.asked(action)[0]


def test_verdict__price_back_up__trigger_is_gone() -> None:
    desk = Desk()
    desk.fall(14)
    _, action = desk.meant()
    desk.stage.wait(50)
    desk.stage.post({MARKET: desk.opened_at * 88 // 100})
    assert desk.asked(action) == (False, False, "TRIGGER_GONE")


def test_verdict__price_beyond_its_bound__is_void() -> None:
    desk = Desk()
    desk.fall(14)
    _, action = desk.meant()
    desk.stage.wait(50)
    desk.stage.post({MARKET: desk.opened_at * 83 // 100})
    assert desk.asked(action) == (False, False, "PRICE_BEYOND_BOUND")


def test_verdict__its_owner_closed_a_part__is_void() -> None:
    desk = Desk()
    desk.fall(14)
    _, action = desk.meant()
    assert (
        desk.stage.closed(desk.identity, desk.stage.book.position(desk.identity).size // 4) is None
    )
    assert desk.asked(action)[:2] == (False, False)


def test_verdict__its_owner_added_margin__is_not_void_but_the_trigger_is_gone() -> None:
    desk = Desk()
    desk.fall(14)
    what, action = desk.meant()
    margin, _ = cure_for(health(desk.stage.book, desk.stage.seen, desk.identity), what)
    held = desk.stage.book.position(desk.identity)
    reading = desk.stage.seen.markets[MARKET]
    later = replace(reading.mark, observed_at_ms=desk.now_ms + 1)
    seen = replace(desk.stage.seen, markets={MARKET: replace(reading, mark=later)})
    for missing, gone in ((0, True), (1, False)):
        cured = replace(held, collateral=held.collateral + margin - missing)
        book = replace(desk.stage.book, positions={desk.identity: cured})
        said = verdict(book, seen, action, CALLER, desk.now_ms)
        assert (said.detail == "TRIGGER_GONE") is gone  # the cure is exact to the unit


def test_verdict__too_late__is_void() -> None:
    desk = Desk()
    desk.fall(14)
    _, action = desk.meant()
    said = verdict(desk.stage.book, desk.stage.seen, action, CALLER, action.valid_until_ms + 1)
    assert (said.may_go, said.may_wait, said.detail) == (False, False, "EXPIRED")


def test_adjust__costly_to_leave__ramps_inside_what_its_owner_accepted() -> None:
    desk = Desk()
    what, action = desk.meant(THIN)
    held = desk.stage.book.position(desk.identity)
    own = standing(desk.stage.book, desk.stage.seen, desk.identity)
    assert what.kind is ActionKind.ADJUST
    assert own.ratio_ppm < what.maintenance_ppm <= held.ceiling_ppm
    assert what.maintenance_ppm <= LARGEST_FACTOR * own.now.limits.effective_maintenance_ppm
    assert what.maintenance_ppm <= needed_ppm(own, THIN)
    desk.stage.later()
    assert desk.asked(action)[0]
    assert desk.stage.act("adjust", action, CALLER) is None
    live = standing(desk.stage.book, desk.stage.seen, desk.identity)
    assert live.ratio_ppm == own.ratio_ppm  # from the live value: nothing leaps
    assert desk.decide(foresight=THIN) is Withheld.NO_TRIGGER  # it is under way


def test_adjust__cheap_to_leave__is_let_be() -> None:
    assert Desk().decide() is Withheld.NO_TRIGGER


def cross_account() -> tuple[Stage, PositionId, PositionId]:
    """A cross account with a large position in one market and a small one in another."""
    stage = Stage()
    found = []
    for market, notional in ((2, 20_000), (1, 12_000)):
        terms = stage.terms(BOB, market, LONG, margin_mode=MarginMode.CROSS)
        found.append(stage.opened(terms, notional))
    return stage, found[0], found[1]


def test_liquidate__the_largest_lies_in_a_thin_market__the_other_is_chosen() -> None:
    stage, thin, calm = cross_account()
    for _ in range(40):
        stage.wait(121)
        stage.post({MarketId(m): stage.world.prices[m] * 995 // 1_000 for m in (1, 2)})
        stage.rest()
        found = health(stage.book, stage.seen, calm)
        if found.equity < found.maintenance:
            break
    assert found.largest_market == MARKET
    assert 3 * found.equity >= 2 * found.maintenance
    markets = {MarketId(1): CALM, MARKET: replace(CALM, depth_usdc=1e3)}
    chosen = {}
    for identity in (thin, calm):
        case = Case(
            identity=identity,
            odds=LIKELY,
            markets=markets,
            caller=CALLER,
            now_ms=stage.now_s * 1_000,
        )
        chosen[identity] = intended(stage.book, stage.seen, case, ON)
    assert chosen[thin] is Withheld.NO_TRIGGER  # the formula's own choice needs no signature
    what = chosen[calm]
    assert isinstance(what, Intended)
    assert what.kind is ActionKind.LIQUIDATE
    action = written(what, stage.now_s * 1_000, 60, HASHES)
    stage.later()
    size = stage.book.position(calm).size
    assert stage.act("liquidate_signed", action, CALLER) is None
    assert stage.book.position(calm).size < size


def test_windows__more_than_a_market_carries__waits_its_turn() -> None:
    plain = Intended(
        kind=ActionKind.DELEVERAGE,
        identity=position_id(ALICE, MARKET, 1),
        version=1,
        maintenance_ppm=0,
        max_size=10**18,
        price_bound_e18=0,
        because=("",),
    )
    wanted = [replace(plain, version=number) for number in range(5)]
    price = {int(MARKET): 100 * 10**18}
    kept = within_windows(wanted, price, {int(MARKET): 250.0})
    assert [each.version for each in kept] == [0, 1]
    adjusting = replace(plain, max_size=0)
    assert within_windows([adjusting], price, {}) == (adjusting,)
