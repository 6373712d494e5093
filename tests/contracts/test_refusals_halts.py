"""Each refusal of pauses, reverts, limits and position decisions is reached; each pause ends."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from contracts.halts import (
    EPOCHS,
    MIN_GUARDIAN_AI_PAUSE_S,
    NO_GUARD,
    DecisionKind,
    PauseScope,
    Permissions,
    decode_guard,
)
from contracts.messages import (
    ActionKind,
    Adjustment,
    MarginMode,
    PositionAction,
    PositionTerms,
    Side,
    digest,
)
from contracts.refusals import Refusal
from contracts.risk_oracle import FRESHNESS
from tests.contracts.world import (
    EVIDENCE_HASH,
    FIELDS,
    GUARDIAN,
    MODEL_HASH,
    OUTSIDER,
    OWNER,
    SIGNERS,
    STRANGER,
    OracleWorld,
    capped,
    skips,
)

ALL = Permissions.OPEN | Permissions.CLOSE | Permissions.LIQUIDATE | Permissions.WITHDRAW
ALL |= Permissions.DECIDE
DAY_S = 86_400


@pytest.fixture
def world():
    found = OracleWorld()
    found.update(FIELDS, FIELDS._replace(market=1))
    return found


def permitted(world, market=0):
    return Permissions(world.read("permissions", market))


class TestPauses:
    """Scoped, at once, ending by themselves."""

    def test_permissions__nothing_paused__are_all(self, world):
        assert permitted(world) == ALL

    @pytest.mark.parametrize(
        ("scope", "lost"),
        [
            (PauseScope.NEW_RISK, Permissions.OPEN),
            (PauseScope.AI_INPUT, Permissions.OPEN | Permissions.DECIDE),
            (PauseScope.WITHDRAWALS, Permissions.OPEN | Permissions.WITHDRAW),
            (PauseScope.LIQUIDATION, Permissions.OPEN | Permissions.LIQUIDATE),
            (PauseScope.EVERYTHING, ALL),
        ],
    )
    @pytest.mark.parametrize("by", [GUARDIAN, OWNER])
    def test_pause__of_a_scope__takes_what_it_says_and_ends(self, world, scope, lost, by):
        world.send(by, "pause", scope, 660)
        assert permitted(world) == ALL & ~lost
        world.wait(659)
        assert permitted(world) == ALL & ~lost
        world.wait(1)
        assert permitted(world) == ALL

    def test_pause_market__takes_all_but_decisions_there_and_ends(self, world):
        world.send(GUARDIAN, "pause_market", 0, 600)
        assert permitted(world) == Permissions.DECIDE
        assert permitted(world, 1) == ALL
        world.wait(600)
        assert permitted(world) == ALL

    @pytest.mark.parametrize("scope", PauseScope)
    def test_resume__owner__gives_back_at_once(self, world, scope):
        world.send(GUARDIAN, "pause", scope, 660)
        world.send(OWNER, "resume", scope)
        assert permitted(world) == ALL

    def test_resume_market__owner__gives_back_at_once(self, world):
        world.send(GUARDIAN, "pause_market", 0, 600)
        world.send(OWNER, "resume_market", 0)
        assert permitted(world) == ALL

    @pytest.mark.parametrize(
        ("function", "arguments"),
        [
            ("pause", [1, 60]),
            ("pause_market", [0, 60]),
            ("freeze_market", [0]),
            ("revert_market", [0]),
            ("disable_decision_kind", [1]),
            ("tighten_market", [0, 100, 1, True, 60]),
        ],
    )
    def test_guardian_s_functions__stranger__refuses_not_guardian(self, world, function, arguments):
        with world.refuses(Refusal.NOT_GUARDIAN):
            world.send(STRANGER, function, *arguments)

    @pytest.mark.parametrize(
        ("function", "arguments"),
        [
            ("resume", [1]),
            ("resume_market", [0]),
            ("unfreeze_market", [0]),
            ("enable_decision_kind", [1]),
            ("lift_tightening", [0]),
        ],
    )
    @pytest.mark.parametrize("actor", [STRANGER, GUARDIAN])
    def test_resuming__not_the_owner__refuses_not_owner(self, world, function, arguments, actor):
        with world.refuses(Refusal.NOT_OWNER):
            world.send(actor, function, *arguments)

    @pytest.mark.parametrize(
        ("sender", "function", "arguments"),
        [
            (GUARDIAN, "pause_market", [2, 60]),
            (OWNER, "resume_market", [2]),
            (GUARDIAN, "freeze_market", [2]),
            (OWNER, "unfreeze_market", [2]),
            (GUARDIAN, "revert_market", [2]),
            (GUARDIAN, "tighten_market", [2, 100, 1, True, 60]),
            (OWNER, "lift_tightening", [2]),
            (OWNER, "set_market_class", [2, 1]),
        ],
    )
    def test_market_s_functions__never_added__refuses_unknown_market(
        self, world, sender, function, arguments
    ):
        with world.refuses(Refusal.UNKNOWN_MARKET):
            world.send(sender, function, *arguments)

    @pytest.mark.parametrize("scope", [0, 6, 2**255])
    @pytest.mark.parametrize(("function", "rest"), [("pause", [60]), ("resume", [])])
    def test_pause__no_such_scope__refuses_unknown_pause_scope(self, world, scope, function, rest):
        with world.refuses(Refusal.UNKNOWN_PAUSE_SCOPE):
            world.send(OWNER, function, scope, *rest)

    @pytest.mark.parametrize(
        ("by", "duration_s"), [(GUARDIAN, 0), (GUARDIAN, DAY_S + 1), (OWNER, 30 * DAY_S + 1)]
    )
    def test_pause__none_or_too_long__refuses_pause_out_of_range(self, world, by, duration_s):
        for function, first in (("pause", 1), ("pause_market", 0)):
            with world.refuses(Refusal.PAUSE_OUT_OF_RANGE):
                world.send(by, function, first, duration_s)

    def test_pause__guardian_again_while_it_runs__refuses_pause_already_running(self, world):
        world.send(GUARDIAN, "pause", PauseScope.NEW_RISK, 600)
        world.wait(599)
        with world.refuses(Refusal.PAUSE_ALREADY_RUNNING):
            world.send(GUARDIAN, "pause", PauseScope.NEW_RISK, 600)
        world.send(OWNER, "pause", PauseScope.NEW_RISK, 30 * DAY_S)
        world.wait(DAY_S)
        assert Permissions.OPEN not in permitted(world)

    def test_pause_market__guardian_again__refuses_pause_already_running(self, world):
        world.send(GUARDIAN, "pause_market", 0, 600)
        with world.refuses(Refusal.PAUSE_ALREADY_RUNNING):
            world.send(GUARDIAN, "pause_market", 0, 600)

    @pytest.mark.parametrize("scope", [PauseScope.AI_INPUT, PauseScope.EVERYTHING])
    def test_pause__guardian_of_decisions_briefly__refuses_pause_too_short(self, world, scope):
        with world.refuses(Refusal.PAUSE_TOO_SHORT):
            world.send(GUARDIAN, "pause", scope, MIN_GUARDIAN_AI_PAUSE_S - 1)
        world.send(OWNER, "pause", scope, 1)
        world.wait(1)
        world.send(GUARDIAN, "pause", scope, MIN_GUARDIAN_AI_PAUSE_S)

    def test_pause__guardian_s_shortest__outlasts_every_validity_before_epochs_repeat(self):
        longest_s = FRESHNESS.max_validity_ms // 1_000
        assert longest_s < (EPOCHS - 1) * MIN_GUARDIAN_AI_PAUSE_S

    @pytest.mark.parametrize("scope", PauseScope)
    def test_pause__guardian_before_it_rested__refuses_pause_too_soon(self, world, scope):
        world.send(GUARDIAN, "pause", scope, 700)
        world.wait(1_399)
        with world.refuses(Refusal.PAUSE_TOO_SOON):
            world.send(GUARDIAN, "pause", scope, 700)
        world.wait(1)
        world.send(GUARDIAN, "pause", scope, 700)
        assert permitted(world) != ALL

    def test_pause_market__guardian_before_it_rested__refuses_pause_too_soon(self, world):
        world.send(GUARDIAN, "pause_market", 0, 600)
        world.wait(1_199)
        with world.refuses(Refusal.PAUSE_TOO_SOON):
            world.send(GUARDIAN, "pause_market", 0, 600)
        world.send(GUARDIAN, "pause_market", 1, 600)
        world.wait(1)
        world.send(GUARDIAN, "pause_market", 0, 600)
        assert permitted(world) == Permissions.DECIDE

    @pytest.mark.parametrize("scope", PauseScope)
    @pytest.mark.parametrize(("function", "rest"), [("resume", []), ("pause", [1])])
    def test_pause__owner_acted_there__guardian_need_not_rest(self, world, scope, function, rest):
        world.send(GUARDIAN, "pause", scope, 700)
        world.send(OWNER, function, scope, *rest)
        world.wait(1)
        world.send(GUARDIAN, "pause", scope, 700)

    @pytest.mark.parametrize(("function", "rest"), [("resume_market", []), ("pause_market", [1])])
    def test_pause_market__owner_acted_there__guardian_need_not_rest(self, world, function, rest):
        world.send(GUARDIAN, "pause_market", 0, 700)
        world.send(OWNER, function, 0, *rest)
        world.wait(1)
        world.send(GUARDIAN, "pause_market", 0, 700)

    def test_pause_market__limit_running__leaves_the_limit_alone(self, world):
        world.send(GUARDIAN, "pause_market", 0, 600)
        world.send(GUARDIAN, "tighten_market", 0, 500, 1_000, False, 600)
        limited = world.parameters()
        assert not limited["reduce_only"]
        (word,) = world.read("guards", 0, 1)
        guard = decode_guard(word)
        assert guard.rest_until_s == world.now_s + 1_200
        assert not guard.limit_reduce_only
        world.send(OWNER, "lift_tightening", 0)
        (word,) = world.read("guards", 0, 1)
        assert decode_guard(word).rest_until_s == world.now_s + 1_200
        world.send(OWNER, "resume_market", 0)
        (word,) = world.read("guards", 0, 1)
        assert decode_guard(word) == replace(NO_GUARD, liquidation_until_s=world.now_s)


class TestLiquidation:
    """The guardian stops liquidation for an hour in all, until the owner has acted."""

    def test_pause__liquidation_after_the_hour__refuses_liquidation_budget_spent(self, world):
        world.send(GUARDIAN, "pause", PauseScope.LIQUIDATION, 1_200)
        world.wait(3_600)
        with world.refuses(Refusal.LIQUIDATION_BUDGET_SPENT):
            world.send(GUARDIAN, "pause", PauseScope.LIQUIDATION, 60)

    @pytest.mark.parametrize("first", ["LIQUIDATION", "EVERYTHING", "MARKET"])
    @pytest.mark.parametrize("second", ["LIQUIDATION", "EVERYTHING", "MARKET"])
    def test_pause__any_two_of_the_guardian__stop_liquidation_for_an_hour_at_most(
        self, world, first, second
    ):
        self.pause(world, first, 0)
        world.wait(1_800)
        assert Permissions.LIQUIDATE not in permitted(world)
        if first != second:
            self.pause(world, second, 0)
        world.wait(1_799)
        assert Permissions.LIQUIDATE not in permitted(world)
        world.wait(1)
        assert Permissions.LIQUIDATE in permitted(world)

    def pause(self, world, scope, market):
        if scope == "MARKET":
            world.send(GUARDIAN, "pause_market", market, DAY_S)
        else:
            world.send(GUARDIAN, "pause", PauseScope[scope], DAY_S)

    def test_pause__everything_after_the_hour__leaves_liquidation(self, world):
        world.send(GUARDIAN, "pause", PauseScope.LIQUIDATION, 60)
        world.wait(3_600)
        world.send(GUARDIAN, "pause", PauseScope.EVERYTHING, 660)
        assert permitted(world) == Permissions.LIQUIDATE

    @pytest.mark.parametrize(
        ("function", "arguments"),
        [("resume", [1]), ("resume_market", [0]), ("pause", [1, 60]), ("pause_market", [1, 60])],
    )
    def test_pause__owner_acted__guardian_has_its_hour_again(self, world, function, arguments):
        world.send(GUARDIAN, "pause", PauseScope.LIQUIDATION, 60)
        world.wait(3_600)
        world.send(OWNER, function, *arguments)
        world.send(GUARDIAN, "pause", PauseScope.LIQUIDATION, 60)
        assert Permissions.LIQUIDATE not in permitted(world)

    def test_pause__by_the_owner__stops_liquidation_as_long_as_it_says(self, world):
        world.send(OWNER, "pause", PauseScope.LIQUIDATION, DAY_S)
        world.wait(DAY_S - 1)
        assert Permissions.LIQUIDATE not in permitted(world)


@pytest.mark.parametrize("epoch", [64, 2**255])
def test_ramp_stopped_at__no_such_epoch__refuses_unknown_epoch(world, epoch):
    with world.refuses(Refusal.UNKNOWN_EPOCH):
        world.read("ramp_stopped_at", epoch)
    with world.refuses(Refusal.UNKNOWN_EPOCH):
        world.read("ramp_elapsed_s", epoch, 0)
    controls = world.state().controls
    assert controls.ramp_elapsed_s(epoch, 0, world.now_s) is Refusal.UNKNOWN_EPOCH
    assert world.state().controls.ramp_stopped_at(epoch) is Refusal.UNKNOWN_EPOCH


class TestDecisions:
    """AI input refused: updates, terms and actions."""

    def test_update__ai_input_paused__refuses_ai_input_paused(self, world):
        world.send(GUARDIAN, "pause", PauseScope.AI_INPUT, 660)
        world.wait(1)
        with world.refuses(Refusal.AI_INPUT_PAUSED):
            world.update(FIELDS)

    def test_update__everything_paused__refuses_everything_paused(self, world):
        world.send(GUARDIAN, "pause", PauseScope.EVERYTHING, 660)
        world.wait(1)
        with world.refuses(Refusal.EVERYTHING_PAUSED):
            world.update(FIELDS)

    def test_update__kind_disabled__refuses_decision_kind_disabled(self, world):
        world.send(GUARDIAN, "disable_decision_kind", DecisionKind.RISK_UPDATE)
        world.wait(1)
        with world.refuses(Refusal.DECISION_KIND_DISABLED):
            world.update(FIELDS)
        world.send(OWNER, "enable_decision_kind", DecisionKind.RISK_UPDATE)
        assert skips(world.update(FIELDS)) == []

    @pytest.mark.parametrize("kind", [0, 6])
    @pytest.mark.parametrize("function", ["disable_decision_kind", "enable_decision_kind"])
    def test_decision_kind__none_such__refuses_unknown_decision_kind(self, world, kind, function):
        with world.refuses(Refusal.UNKNOWN_DECISION_KIND):
            world.send(OWNER, function, kind)

    def test_terms__signed_and_fresh__give_their_digest(self, world):
        terms = terms_of(world)
        assert verify(world, terms) == digest(terms, world.domain())

    @pytest.mark.parametrize("kind", ActionKind)
    def test_action__signed_and_fresh__gives_its_digest(self, world, kind):
        action = action_of(world, kind=kind)
        assert verify(world, action) == digest(action, world.domain())

    def test_decisions__outsider_signed__refuses_unknown_signer(self, world):
        for message in (terms_of(world), action_of(world)):
            with world.refuses(Refusal.UNKNOWN_SIGNER):
                verify(world, message, [SIGNERS[0], OUTSIDER])

    def test_decisions__too_late__refuses_expired(self, world):
        for message in (terms_of(world), action_of(world)):
            world.wait(61)
            with world.refuses(Refusal.EXPIRED):
                verify(world, message)

    def test_decisions__valid_for_long__refuses_validity_too_long(self, world):
        until = world.now_ms + 600_001
        for message in (
            terms_of(world, valid_until_ms=until),
            action_of(world, valid_until_ms=until),
        ):
            with world.refuses(Refusal.VALIDITY_TOO_LONG):
                verify(world, message)

    @pytest.mark.parametrize(
        ("scope", "refusal"),
        [
            (PauseScope.AI_INPUT, Refusal.AI_INPUT_PAUSED),
            (PauseScope.EVERYTHING, Refusal.EVERYTHING_PAUSED),
        ],
    )
    def test_decisions__paused__refuses_ai_input_paused(self, world, scope, refusal):
        world.send(OWNER, "pause", scope, 30)
        for message in (terms_of(world), action_of(world)):
            with world.refuses(refusal):
                verify(world, message)
        world.wait(30)
        assert verify(world, terms_of(world))

    @pytest.mark.parametrize("kind", list(DecisionKind)[1:])
    def test_decisions__kind_disabled__refuses_decision_kind_disabled(self, world, kind):
        world.send(GUARDIAN, "disable_decision_kind", kind)
        messages = [terms_of(world), *(action_of(world, kind=action) for action in ActionKind)]
        for number, message in enumerate(messages, start=2):
            if number == kind:
                with world.refuses(Refusal.DECISION_KIND_DISABLED):
                    verify(world, message)
            else:
                assert verify(world, message)

    @pytest.mark.parametrize("kind", [0, 4, 255])
    def test_action__kind_unknown__refuses_unknown_decision_kind(self, world, kind):
        values = list(tuple_of(action_of(world)))
        values[4] = kind
        with world.refuses(Refusal.UNKNOWN_DECISION_KIND):
            world.read("verify_position_action", tuple(values), [])


def terms_of(world, **changes):
    plain = {
        "observed_at_ms": world.now_ms,
        "valid_until_ms": world.now_ms + 60_000,
        "account": STRANGER,
        "market": 0,
        "side": Side.SHORT,
        "margin_mode": MarginMode.CROSS,
        "adjustment": Adjustment.MANAGED,
        "max_notional_e6": 10**12,
        "max_leverage_e2": 1_000,
        "maintenance_ppm": 50_000,
        "maintenance_ceiling_ppm": 80_000,
        "risk_score_ppm": 250_000,
        "nonce": 7,
        "model_hash": MODEL_HASH,
        "evidence_hash": EVIDENCE_HASH,
    }
    return PositionTerms(**{**plain, **changes})


def action_of(world, **changes):
    plain = {
        "observed_at_ms": world.now_ms,
        "valid_until_ms": world.now_ms + 60_000,
        "position_id": 2**200,
        "position_version": 3,
        "kind": ActionKind.DELEVERAGE,
        "maintenance_ppm": 50_000,
        "max_size_e18": 10**18,
        "price_bound_e18": 10**22,
        "model_hash": MODEL_HASH,
        "evidence_hash": EVIDENCE_HASH,
    }
    return PositionAction(**{**plain, **changes})


def tuple_of(message):
    values = [getattr(message, item.name) for item in fields(message)]
    return tuple(int(v) if isinstance(v, int) else v for v in values)


def verify(world, message, by=None):
    kind = "terms" if isinstance(message, PositionTerms) else "action"
    signed = world.signatures(message, by)
    halves = [half for item in signed for half in (item[:32], item[32:])]
    view = world.read(f"digest_position_{kind}", tuple_of(message))
    assert view == digest(message, world.domain())
    return world.read(f"verify_position_{kind}", tuple_of(message), halves)


class TestRevert:
    """Once a change, within a day, toward safety only."""

    def test_revert__nothing_changed__refuses_not_revertible(self, world):
        with world.refuses(Refusal.NOT_REVERTIBLE):
            world.send(GUARDIAN, "revert_market", 0)

    def test_revert__twice__refuses_not_revertible(self, world):
        world.wait(1)
        world.update(capped(800))
        world.send(GUARDIAN, "revert_market", 0)
        with world.refuses(Refusal.NOT_REVERTIBLE):
            world.send(GUARDIAN, "revert_market", 0)

    def test_revert__a_day_later__refuses_revert_window_closed(self, world):
        world.wait(1)
        world.update(capped(800))
        world.wait(DAY_S + 1)
        with world.refuses(Refusal.REVERT_WINDOW_CLOSED):
            world.send(GUARDIAN, "revert_market", 0)

    def test_revert__tightening__keeps_new_risk_tight_and_gives_open_positions_back(self, world):
        world.wait(1)
        world.update(capped(800))
        world.wait(1_800)
        assert world.parameters()["effective_maintenance_ppm"] == 56_250
        world.send(GUARDIAN, "revert_market", 0)
        after = world.parameters()
        assert (after["cap_e2"], after["maintenance_ppm"]) == (800, 62_500)
        assert after["effective_maintenance_ppm"] == 50_000
        world.wait(DAY_S)
        assert world.parameters()["effective_maintenance_ppm"] == 50_000

    def test_revert__loosening__takes_new_risk_back_and_keeps_the_live_maintenance(self, world):
        world.wait(900)
        world.update(capped(1_100))
        world.wait(1_800)
        live = world.parameters()["effective_maintenance_ppm"]
        assert 45_454 < live < 50_000
        world.send(GUARDIAN, "revert_market", 0)
        after = world.parameters()
        assert (after["cap_e2"], after["effective_maintenance_ppm"]) == (1_000, live)

    def test_revert__then_renewal__ramp_stays_cancelled_until_asked_for(self, world):
        world.wait(1)
        world.update(capped(800))
        world.wait(1_800)
        world.send(GUARDIAN, "revert_market", 0)
        world.update(capped(800))
        world.wait(3_599)
        assert world.parameters()["effective_maintenance_ppm"] == 50_000
        world.update(capped(800, ramp_s=3_600))
        world.wait(1_800)
        assert world.parameters()["effective_maintenance_ppm"] == 56_250


class TestTightening:
    """The guardian's limit lies over the signed values, and ends."""

    def test_tighten__limits_new_risk_only_and_ends(self, world):
        before = world.parameters()
        world.send(GUARDIAN, "tighten_market", 0, 500, 1_000, False, 600)
        limited = {"cap_e2": 500, "maintenance_ppm": 100_000, "open_interest_cap_usdc": 1_000}
        assert world.parameters() == {**before, **limited}
        assert permitted(world) == ALL
        world.wait(600)
        assert world.parameters() == before

    def test_tighten__reduce_only__stops_opening(self, world):
        world.send(GUARDIAN, "tighten_market", 0, 500, 1_000, True, 600)
        assert permitted(world) == ALL & ~Permissions.OPEN
        world.send(OWNER, "lift_tightening", 0)
        assert permitted(world) == ALL

    @pytest.mark.parametrize(
        "arguments",
        [
            [501, 1_000, True, 600],
            [500, 1_001, True, 600],
            [500, 1_000, False, 600],
        ],
    )
    def test_tighten__guardian_looser_than_its_limit__refuses_limit_not_tighter(
        self, world, arguments
    ):
        world.send(GUARDIAN, "tighten_market", 0, 500, 1_000, True, 600)
        with world.refuses(Refusal.LIMIT_NOT_TIGHTER):
            world.send(GUARDIAN, "tighten_market", 0, *arguments)
        world.send(OWNER, "tighten_market", 0, *arguments)

    def test_tighten__guardian_under_a_longer_limit__keeps_its_end(self, world):
        world.send(OWNER, "tighten_market", 0, 900, 1_000, False, 30 * DAY_S)
        world.send(GUARDIAN, "tighten_market", 0, 100, 500, True, 600)
        world.wait(30 * DAY_S - 1)
        assert world.parameters()["cap_e2"] == 100
        world.wait(1)
        assert world.parameters()["cap_e2"] == 1_000

    @pytest.mark.parametrize(("cap_e2", "amount"), [(99, 1_000), (65_536, 1_000), (500, 2_048)])
    def test_tighten__not_a_number__refuses_not_canonical(self, world, cap_e2, amount):
        with world.refuses(Refusal.NOT_CANONICAL):
            world.send(GUARDIAN, "tighten_market", 0, cap_e2, amount, True, 600)
