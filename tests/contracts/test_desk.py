"""The order desk, alone: what a request says, how it waits, what ends it, and every refusal."""

from __future__ import annotations

import pytest

from contracts.fields import keccak256
from contracts.halts import DecisionKind, PauseScope
from contracts.messages import Adjustment, MarginMode, Side, digest
from contracts.refusals import Refusal
from tests.contracts.chain import Contract, PyEvm, RefusedError, RevertedError
from tests.contracts.desks import (
    ANY_PRICE,
    E18,
    FEE_E6,
    KEEPER,
    TRADER,
    WINDOW_S,
    DeskWorld,
    message_tuple,
    request_of,
)
from tests.contracts.world import GUARDIAN, OWNER, SIGNERS, STRANGER

ZERO = "0x" + "00" * 20
REQUEST = [
    "account",
    "market",
    "mode",
    "long",
    "reduce_only",
    "managed",
    "size",
    "margin",
    "leverage_e2",
    "maintenance_ppm",
    "ceiling_ppm",
    "max_notional",
    "fee",
    "acceptable_price",
    "requested_at_ms",
]


@pytest.fixture
def world():
    return DeskWorld()


def named(request):
    return dict(zip(REQUEST, request, strict=True))


def changed(request, **changes):
    return tuple({**named(request), **changes}.values())


class TestOpening:
    """What terms and choices become."""

    def test_request_open__event__holds_the_request_whole(self, world):
        terms = world.terms()
        receipt = world.open(terms, size=3 * E18, margin=77, leverage_e2=250, acceptable_price=9)
        requested, held = receipt.events
        assert named(requested.fields["request"]) == {
            "account": TRADER.lower(),
            "market": 0,
            "mode": 1,
            "long": True,
            "reduce_only": False,
            "managed": True,
            "size": 3 * E18,
            "margin": 77,
            "leverage_e2": 250,
            "maintenance_ppm": 50_000,
            "ceiling_ppm": 80_000,
            "max_notional": 10**12,
            "fee": FEE_E6,
            "acceptable_price": 9,
            "requested_at_ms": world.oracle.now_ms,
        }
        assert requested.fields["terms_hash"] == digest(terms, world.oracle.domain())
        assert held.fields == {
            "account": TRADER.lower(),
            "nonce": 7,
            "mode": 1,
            "fee": FEE_E6,
            "margin": 77,
        }

    def test_request_open__its_id__is_the_hash_of_the_struct(self, world):
        receipt = world.open()
        event = receipt.events[0]
        data = world.desk.calldata("execute", request_of(receipt))[4:]
        assert event.fields["id"] == keccak256(data) == receipt.output
        assert world.pending(event)

    @pytest.mark.parametrize(
        ("changes", "asked", "expected"),
        [
            ({"side": Side.SHORT}, {}, {"long": False}),
            ({"adjustment": Adjustment.FIXED}, {}, {"managed": False}),
            ({"margin_mode": MarginMode.CROSS}, {"margin": 0}, {"mode": 2, "margin": 0}),
        ],
    )
    def test_request_open__other_choices__stand_in_the_request(
        self, world, changes, asked, expected
    ):
        request = named(request_of(world.open(world.terms(**changes), **asked)))
        assert request | expected == request

    @pytest.mark.parametrize("leverage", [100, 1_000])
    def test_request_open__leverage_at_its_limits__waits(self, world, leverage):
        terms = world.terms(maintenance_ceiling_ppm=100_000)
        assert named(request_of(world.open(terms, leverage_e2=leverage)))["leverage_e2"] == leverage

    def test_request_open__terms_of_another__refuses_terms_of_another(self, world):
        for account, sender in ((STRANGER, TRADER), (TRADER, STRANGER)):
            with world.refuses(Refusal.TERMS_OF_ANOTHER):
                world.open(world.terms(account=account), sender=sender)

    @pytest.mark.parametrize(("field", "value"), [(4, 0), (4, 2), (5, 0), (5, 3), (6, 0), (6, 3)])
    def test_request_open__no_such_choice__refuses_unknown_choice(self, world, field, value):
        # Unsigned: a choice that does not exist is refused before signatures are looked at.
        terms = list(message_tuple(world.terms()))
        terms[field] = value
        with world.refuses(Refusal.UNKNOWN_CHOICE):
            world.desk.send(TRADER, "request_open", tuple(terms), [], E18, 0, 500, 0)

    def test_request_open__not_signed__refuses_too_few_signatures(self, world):
        with world.refuses(Refusal.TOO_FEW_SIGNATURES):
            world.open(signed=[])

    def test_request_open__terms_changed_after_signing__refuses_unknown_signer(self, world):
        signed = world.oracle.signatures(world.terms(), by=SIGNERS[:2])
        with world.refuses(Refusal.UNKNOWN_SIGNER):
            world.open(world.terms(max_leverage_e2=999), signed=signed)

    def test_request_open__terms_out_of_date__refuses_expired(self, world):
        terms = world.terms()
        world.wait(61)
        with world.refuses(Refusal.EXPIRED):
            world.open(terms)

    def test_request_open__ai_input_paused__refuses_ai_input_paused(self, world):
        world.oracle.send(GUARDIAN, "pause", PauseScope.AI_INPUT, 700)
        with world.refuses(Refusal.AI_INPUT_PAUSED):
            world.open()

    def test_request_open__terms_disabled__refuses_decision_kind_disabled(self, world):
        world.oracle.send(GUARDIAN, "disable_decision_kind", DecisionKind.POSITION_TERMS)
        with world.refuses(Refusal.DECISION_KIND_DISABLED):
            world.open()

    def test_request_open__nonce_of_zero__refuses_terms_used(self, world):
        with world.refuses(Refusal.TERMS_USED):
            world.open(world.terms(nonce=0))

    @pytest.mark.parametrize("leverage", [0, 99, 1_001, 2**255])
    def test_request_open__leverage_not_of_the_terms__refuses_leverage_outside_terms(
        self, world, leverage
    ):
        with world.refuses(Refusal.LEVERAGE_OUTSIDE_TERMS):
            world.open(leverage_e2=leverage)

    @pytest.mark.parametrize(
        "changes",
        [
            {"maintenance_ppm": 0},
            {"maintenance_ppm": 50_001, "maintenance_ceiling_ppm": 80_000},
            {"max_leverage_e2": 1_001},
            {"max_leverage_e2": 2**32 - 1, "maintenance_ppm": 2**32 - 1},
            {"maintenance_ceiling_ppm": 49_999},
            {"maintenance_ceiling_ppm": 1_000_001},
            {"maintenance_ceiling_ppm": 1_000_001, "adjustment": Adjustment.FIXED},
        ],
    )
    def test_request_open__terms_no_position_can_have__refuses_terms_incoherent(
        self, world, changes
    ):
        with world.refuses(Refusal.TERMS_INCOHERENT):
            world.open(world.terms(**changes))

    def test_request_open__ceiling_at_the_maintenance__waits(self, world):
        world.open(world.terms(maintenance_ceiling_ppm=50_000))

    def test_request_open__ceiling_above_the_margin__refuses_ceiling_unbearable(self, world):
        with world.refuses(Refusal.CEILING_UNBEARABLE):
            world.open(world.terms(maintenance_ceiling_ppm=200_001), leverage_e2=500)
        world.open(world.terms(maintenance_ceiling_ppm=200_000), leverage_e2=500)

    def test_request_open__fixed__asks_nothing_of_the_ceiling(self, world):
        for ceiling in (0, 1_000_000):
            terms = world.terms(
                adjustment=Adjustment.FIXED, maintenance_ceiling_ppm=ceiling, nonce=8
            )
            assert named(request_of(world.open(terms)))["ceiling_ppm"] == ceiling

    def test_request_open__margin_in_cross__refuses_margin_needs_isolated(self, world):
        with world.refuses(Refusal.MARGIN_NEEDS_ISOLATED):
            world.open(world.terms(margin_mode=MarginMode.CROSS), margin=1)

    @pytest.mark.parametrize(
        "asked", [{"size": 0}, {"size": 2**120}, {"size": 2**256 - 1}, {"margin": 2**64}]
    )
    def test_request_open__zero_or_huge__refuses_amount_out_of_range(self, world, asked):
        with world.refuses(Refusal.AMOUNT_OUT_OF_RANGE):
            world.open(**asked)

    def test_request_open__largest_amounts__wait(self, world):
        world.open(size=2**120 - 1, margin=2**64 - 1)

    def test_request_open__market_without_rules__refuses_unknown_market(self, world):
        for market in (1, 65_535):
            with world.refuses(Refusal.UNKNOWN_MARKET):
                world.open(world.terms(market=market))

    def test_request_open__twice_in_a_second__refuses_already_requested(self, world):
        world.open()
        with world.refuses(Refusal.ALREADY_REQUESTED):
            world.open(world.terms(nonce=8))
        world.wait(1)
        world.open(world.terms(nonce=8))


class TestClosing:
    """Without terms, from the position as it is."""

    @pytest.mark.parametrize("long", [True, False])
    @pytest.mark.parametrize("mode", [1, 2])
    def test_request_close__position__is_traded_against_and_only_reduced(self, world, long, mode):
        world.give_position(long=long, mode=mode)
        receipt = world.close(mode=mode, size=2 * E18, acceptable_price=5)
        request = named(request_of(receipt))
        assert request == {
            **dict.fromkeys(REQUEST, 0),
            "account": TRADER.lower(),
            "mode": mode,
            "long": not long,
            "reduce_only": True,
            "managed": False,
            "size": 2 * E18,
            "fee": FEE_E6,
            "acceptable_price": 5,
            "requested_at_ms": world.oracle.now_ms,
        }
        assert receipt.events[0].fields["terms_hash"] == bytes(32)
        assert receipt.events[1].fields["nonce"] == 0

    def test_request_close__everything__fits_its_field(self, world):
        world.give_position()
        assert named(request_of(world.close(size=ANY_PRICE)))["size"] == 2**120 - 1

    def test_request_close__ai_input_paused__waits_all_the_same(self, world):
        world.give_position()
        world.oracle.send(GUARDIAN, "pause", PauseScope.AI_INPUT, 700)
        assert world.pending(world.close().events[0])

    @pytest.mark.parametrize("mode", [0, 3, 257, 2**255])
    def test_request_close__no_such_mode__refuses_unknown_choice(self, world, mode):
        world.give_position()
        with world.refuses(Refusal.UNKNOWN_CHOICE):
            world.close(mode=mode)

    @pytest.mark.parametrize("market", [1, 65_536, 2**255])
    def test_request_close__market_without_rules__refuses_unknown_market(self, world, market):
        world.give_position(market=1)
        with world.refuses(Refusal.UNKNOWN_MARKET):
            world.close(market=market)

    def test_request_close__nothing__refuses_amount_out_of_range(self, world):
        world.give_position()
        with world.refuses(Refusal.AMOUNT_OUT_OF_RANGE):
            world.close(size=0)

    def test_request_close__no_position__refuses_nothing_to_reduce(self, world):
        world.give_position(mode=2)
        with world.refuses(Refusal.NOTHING_TO_REDUCE):
            world.close(mode=1)

    def test_request_close__twice_in_a_second__refuses_already_requested(self, world):
        world.give_position()
        world.close()
        with world.refuses(Refusal.ALREADY_REQUESTED):
            world.close()
        world.close(size=E18 + 1)


class TestEnding:
    """A request is executed or cancelled once, in its time, as it was made."""

    def test_execute__anybody__orders_what_the_request_says(self, world):
        receipt = world.open(margin=5)
        at_ms = world.oracle.now_ms
        world.wait(3)
        request = request_of(receipt)
        executed, ordered = world.execute(request).events
        assert executed.fields["executor"] == KEEPER.lower()
        assert executed.fields["id"] == receipt.events[0].fields["id"]
        names = [*REQUEST[:-1], "not_before_ms", "not_after_ms", "executor"]
        order = dict(zip(names, ordered.fields["order"], strict=True))
        window = {"not_before_ms": at_ms + 2_001, "not_after_ms": at_ms + 17_000}
        kept = {name: value for name, value in named(request).items() if name in order}
        assert order == {**kept, **window, "executor": KEEPER.lower()}
        assert not world.pending(receipt.events[0])

    def test_execute__again__refuses_not_requested(self, world):
        request = request_of(world.open())
        world.execute(request)
        with world.refuses(Refusal.NOT_REQUESTED):
            world.execute(request)
        world.wait(WINDOW_S + 1)
        with world.refuses(Refusal.NOT_REQUESTED):
            world.cancel(request)

    @pytest.mark.parametrize("field", REQUEST)
    @pytest.mark.parametrize("function", ["execute", "cancel"])
    def test_ending__a_field_changed__refuses_not_requested(self, world, field, function):
        request = request_of(world.open())
        value = named(request)[field]
        other = not value if isinstance(value, bool) else 3 if value != 3 else 4
        other = STRANGER if field == "account" else other
        with world.refuses(Refusal.NOT_REQUESTED):
            world.desk.send(KEEPER, function, changed(request, **{field: other}))

    def test_execute__engine_refuses__goes_on_waiting(self, world):
        receipt = world.open()
        world.engine.send(OWNER, "set_failing", True)
        with pytest.raises(RevertedError):
            world.execute(request_of(receipt))
        assert world.pending(receipt.events[0])
        world.engine.send(OWNER, "set_failing", False)
        world.execute(request_of(receipt))

    def test_execute__last_second__orders(self, world):
        request = request_of(world.open())
        world.wait(WINDOW_S)
        assert [event.name for event in world.execute(request).events] == ["Executed", "Ordered"]

    def test_execute__after_the_window__refuses_outside_window(self, world):
        request = request_of(world.open())
        world.wait(WINDOW_S + 1)
        with world.refuses(Refusal.OUTSIDE_WINDOW):
            world.execute(request)

    @pytest.mark.parametrize("sender", [TRADER, STRANGER])
    def test_cancel__in_the_window__refuses_outside_window(self, world, sender):
        request = request_of(world.open())
        for seconds in (0, WINDOW_S):
            world.wait(seconds)
            with world.refuses(Refusal.OUTSIDE_WINDOW):
                world.cancel(request, sender)

    def test_cancel__after_the_window__gives_back_what_was_held(self, world):
        receipt = world.open(margin=5)
        world.wait(WINDOW_S + 1)
        cancelled, unheld = world.cancel(request_of(receipt)).events
        assert cancelled.fields["id"] == receipt.events[0].fields["id"]
        assert unheld.fields == {
            "account": TRADER.lower(),
            "mode": 1,
            "fee": FEE_E6,
            "margin": 5,
        }
        assert not world.pending(receipt.events[0])

    def test_cancel__everything_paused__is_never_stopped(self, world):
        request = request_of(world.open())
        world.oracle.send(GUARDIAN, "pause", PauseScope.EVERYTHING, 700)
        world.wait(WINDOW_S + 1)
        world.cancel(request)

    def test_cancel__again__refuses_not_requested(self, world):
        request = request_of(world.open())
        world.wait(WINDOW_S + 1)
        world.cancel(request)
        with world.refuses(Refusal.NOT_REQUESTED):
            world.cancel(request)


class TestChangingTerms:
    """At once, and bounded as an opening is."""

    def test_change_terms__position__is_retuned(self, world):
        world.give_position()
        terms = world.terms(adjustment=Adjustment.FIXED)
        said, retuned = world.change(terms, 300).events
        assert said.fields["terms_hash"] == digest(terms, world.oracle.domain())
        assert retuned.fields == {
            "account": TRADER.lower(),
            "market": 0,
            "mode": 1,
            "nonce": 7,
            "leverage_e2": 300,
            "managed": False,
            "maintenance_ppm": 50_000,
            "ceiling_ppm": 80_000,
        }

    def test_change_terms__no_position__refuses_no_position(self, world):
        with world.refuses(Refusal.NO_POSITION):
            world.change(world.terms())

    def test_change_terms__of_the_other_side__refuses_terms_of_another(self, world):
        world.give_position(long=False)
        with world.refuses(Refusal.TERMS_OF_ANOTHER):
            world.change(world.terms())
        world.change(world.terms(side=Side.SHORT))

    def test_change_terms__by_another__refuses_terms_of_another(self, world):
        world.give_position()
        with world.refuses(Refusal.TERMS_OF_ANOTHER):
            world.change(world.terms(), sender=STRANGER)

    def test_change_terms__larger_than_they_allow__refuses_notional_above_terms(self, world):
        world.give_position(size=5 * E18 + 1)
        with world.refuses(Refusal.NOTIONAL_ABOVE_TERMS):
            world.change(world.terms(max_notional_e6=500_000_000))
        world.change(world.terms(max_notional_e6=500_000_001))

    def test_change_terms__leverage_too_high__refuses_leverage_outside_terms(self, world):
        world.give_position()
        with world.refuses(Refusal.LEVERAGE_OUTSIDE_TERMS):
            world.change(world.terms(), 1_001)


class TestDeployment:
    """What it is wired to."""

    @pytest.mark.parametrize("missing", [0, 1])
    def test_deployment__without_an_address__refuses_address_missing(self, world, missing):
        addresses = [world.engine.address, world.oracle.address]
        addresses[missing] = ZERO
        with pytest.raises(RefusedError, match="ADDRESS_MISSING"):
            Contract(world.evm, "OrderDesk", OWNER, addresses)

    def test_deployment__reads_back__as_wired(self, world):
        found = (world.desk.read("engine"), world.desk.read("oracle"))
        assert found == (world.engine.address.lower(), world.oracle.address.lower())


class TestGas:
    """Cold, exact."""

    @pytest.mark.parametrize("mode", list(MarginMode))
    def test_request_open__three_signatures__leaves_the_engine_what_it_needs(self, mode):
        world = DeskWorld(evm=PyEvm(), threshold=3)
        margin = 10**9 if mode == MarginMode.ISOLATED else 0
        assert world.open(world.terms(margin_mode=mode), margin=margin).gas_used <= 97_000

    def test_execute__beyond_the_engine_s__takes_no_more_than_12_000(self):
        world = DeskWorld(evm=PyEvm())
        request = request_of(world.open())
        at_ms = request[-1]
        order = (*request[:-1], at_ms + 2_001, at_ms + 17_000, KEEPER)
        engine = world.engine.calldata("execute", order)
        alone = world.engine.send_raw(KEEPER, engine).gas_used - intrinsic(engine)
        desk = world.desk.calldata("execute", request)
        assert world.desk.send_raw(KEEPER, desk).gas_used - intrinsic(desk) - alone <= 12_000


def intrinsic(data):
    """Give what a transaction costs before it runs."""
    zeros = data.count(0)
    return 21_000 + 4 * zeros + 16 * (len(data) - zeros)
