"""RiskOracle is its Python mirror bit for bit, whatever happens to it in whatever order."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from contracts import halts, readings, risk_oracle
from contracts.halts import EPOCHS, DecisionKind, PauseScope, Permissions
from contracts.packing import RISK_WORD_BITS, RiskFields, pack_amount
from contracts.refusals import Refusal
from contracts.risk_oracle import effective_maintenance_ppm
from contracts.units import UnixS, WholeUsdc
from tests.contracts.chain import FAST, RefusedError
from tests.contracts.world import CLASS, GUARDIAN, OWNER, OracleWorld, skips

MARKETS = 3
SECONDS = st.sampled_from([1, 60, 900, 900, 901, 1_800, 3_600, 7_300, 86_400])
DURATIONS = st.sampled_from([60, 660, 3_600, 86_400])


SHARED = (
    "effective_maintenance_ppm",
    "cap_e2",
    "floor_maintenance_ppm",
    "profit_share_ppm",
    "spread_ppm",
    "open_interest_cap_usdc",
    "size_scale_usdc",
)


def mostly(usual, *others):
    """Draw the usual value most of the time."""
    return st.sampled_from([usual] * 6 * len(others) + list(others))


market_ids = st.integers(0, MARKETS - 1)
factors = st.sampled_from([1.0] * 8 + [1.02, 1.05, 1.09, 1.1, 0.97, 0.9, 0.8, 0.71, 0.6, 1.15])
edits = st.fixed_dictionaries(
    {
        "market": market_ids,
        "cap": factors,
        "interest": factors,
        "scale": factors,
        "spread": factors,
        "reduce_only": mostly(0, 1),
        "ramp_s": mostly(0, 3_599, 3_600, 9_000),
        "skew": mostly(0, 1, -1),
    }
)
raw_words = st.integers(0, 2 ** (RISK_WORD_BITS + 1) - 1)
steps = st.lists(st.one_of(*[edits] * 9, raw_words), min_size=1, max_size=4)


def edited(state, edit):
    """Make an item near what a market has."""
    values = state.values
    cap = min(65_535, max(1, round(values.cap_e2 * edit["cap"])))

    def amount(old, factor):
        return pack_amount(WholeUsdc(round(old * factor)))

    return RiskFields(
        market=edit["market"],
        cap_e2=cap,
        maintenance_ppm=max(0, min(2**20 - 1, 50_000_000 // cap + edit["skew"])),
        open_interest_cap=amount(values.open_interest_cap_usdc, edit["interest"]),
        size_scale=amount(values.size_scale_usdc, edit["scale"]),
        spread=min(1_023, round(values.spread_ppm * edit["spread"]) // 20),
        reduce_only=edit["reduce_only"],
        ramp_s=edit["ramp_s"],
    )


class OracleMachine(RuleBasedStateMachine):
    """Drive contract and mirror side by side."""

    def __init__(self):
        super().__init__()
        self.world = OracleWorld(MARKETS)
        self.state = self.world.state()
        self.last_stopped_s = [0] * MARKETS

    @property
    def now_s(self):
        return UnixS(self.world.now_s)

    def both(self, expected, sender, function, *arguments):
        """Call the contract; it refuses exactly when the mirror gives a refusal."""
        if isinstance(expected, Refusal):
            with pytest.raises(RefusedError) as caught:
                self.world.send(sender, function, *arguments)
            assert caught.value.refusal is expected
            return False
        self.world.send(sender, function, *arguments)
        return True

    def put(self, market, after):
        markets = list(self.state.markets)
        markets[market] = after
        self.state = risk_oracle.replace(self.state, markets=tuple(markets))

    def reread_halts(self):
        """Take over what only the guardian's functions write; slots stay the mirror's."""
        read = self.world.state()
        self.state = risk_oracle.replace(self.state, controls=read.controls, guards=read.guards)

    @rule(seconds=SECONDS)
    def wait(self, seconds):
        self.world.wait(seconds)

    @rule(changes=steps, seconds=SECONDS)
    def update_in_time(self, changes, seconds):
        self.world.wait(seconds)
        self.post(changes, self.world.now_ms, 3_600, 1)

    @rule(seconds=SECONDS, ramp_s=mostly(0, 3_600))
    def renew(self, seconds, ramp_s):
        self.world.wait(seconds)
        same = {"cap": 1, "interest": 1, "scale": 1, "spread": 1, "skew": 0, "ramp_s": ramp_s}
        kept = [
            {**same, "market": market, "reduce_only": int(state.values.reduce_only)}
            for market, state in enumerate(self.state.markets)
        ]
        self.post(kept, self.world.now_ms, 1_800, 1)

    @rule(
        edits=steps,
        lag_ms=mostly(500, 0, 599_000, 601_000, -1_900, -2_100),
        validity_s=mostly(3_600, -1, 5, 601, 1_799, 7_200, 7_300, 41_000),
        jump=mostly(1, 7, 2**32, 2**32 + 1, 0),
    )
    def update(self, edits, lag_ms, validity_s, jump):
        self.post(edits, self.world.now_ms - lag_ms, validity_s, jump)

    def post(self, edits, observed, validity_s, jump):
        items = [
            item if isinstance(item, int) else edited(self.state.markets[item["market"]], item)
            for item in edits
        ]
        message = self.world.message(
            *items,
            round=self.state.latest_round + jump,
            observed_at_ms=observed,
            valid_until_ms=observed + validity_s * 1_000,
        )
        expected = risk_oracle.apply_update(self.state, message, self.now_s)
        if isinstance(expected, Refusal):
            with pytest.raises(RefusedError) as caught:
                self.world.post(message)
            assert caught.value.refusal is expected
            return
        before = [
            effective_maintenance_ppm(m, self.now_s, self.state.controls)
            for m in self.state.markets
        ]
        receipt = self.world.post(message)
        assert skips(receipt) == [(skip.market, skip.refusal) for skip in expected.skipped]
        self.state = expected.state
        after = [
            effective_maintenance_ppm(m, self.now_s, self.state.controls)
            for m in self.state.markets
        ]
        assert after == before

    @rule(
        scope=st.sampled_from(PauseScope),
        duration_s=DURATIONS,
        by=st.sampled_from([GUARDIAN, OWNER]),
    )
    def pause(self, scope, duration_s, by):
        try:
            self.world.send(by, "pause", scope, duration_s)
        except RefusedError:
            return
        self.reread_halts()

    @rule(scopes=st.sampled_from([tuple(PauseScope), *[(scope,) for scope in PauseScope]]))
    def resume(self, scopes):
        for scope in scopes:
            self.world.send(OWNER, "resume", scope)
            controls = halts.resume(self.state.controls, scope, self.now_s)
            self.state = risk_oracle.replace(self.state, controls=controls)

    @rule(market=market_ids, duration_s=DURATIONS, by=st.sampled_from([GUARDIAN, OWNER]))
    def pause_market(self, market, duration_s, by):
        try:
            self.world.send(by, "pause_market", market, duration_s)
        except RefusedError:
            return
        until_s = UnixS(self.now_s + duration_s)
        held = risk_oracle.stand_still(
            self.state.markets[market], until_s, self.now_s, self.state.controls
        )
        self.put(market, held)
        self.reread_halts()

    @rule(market=market_ids)
    def resume_market(self, market):
        self.world.send(OWNER, "resume_market", market)
        guards = list(self.state.guards)
        guards[market] = halts.resume_market(guards[market], self.now_s)
        controls = risk_oracle.replace(self.state.controls, guardian_budget_end_s=UnixS(0))
        self.state = risk_oracle.replace(self.state, controls=controls, guards=tuple(guards))

    @rule(market=market_ids)
    def revert(self, market):
        expected = risk_oracle.revert(self.state.markets[market], self.now_s, self.state.controls)
        if self.both(expected, GUARDIAN, "revert_market", market):
            self.put(market, expected)

    @rule(market=market_ids, frozen=st.booleans())
    def freeze(self, market, frozen):
        if frozen:
            self.world.send(GUARDIAN, "freeze_market", market)
        else:
            self.world.send(OWNER, "unfreeze_market", market)
        self.put(market, risk_oracle.replace(self.state.markets[market], frozen=frozen))

    @rule(market=market_ids, cap=st.sampled_from([100, 500, 900]), reduce_only=st.booleans())
    def tighten(self, market, cap, reduce_only):
        try:
            self.world.send(GUARDIAN, "tighten_market", market, cap, 2_000, reduce_only, 3_600)
        except RefusedError:
            return
        self.reread_halts()

    @rule(max_cap=mostly(5_000, 600, 900), interest=mostly(1 << 30, 1 << 21, 1 << 22))
    def rebound(self, max_cap, interest):
        self.world.rebound(max_cap_e2=max_cap, max_open_interest_cap_usdc=interest)
        read = self.world.state()
        self.state = risk_oracle.replace(self.state, bounds=read.bounds, config=read.config)

    @rule(kind=st.sampled_from(DecisionKind), enabled=st.booleans())
    def switch_kind(self, kind, enabled):
        if enabled or kind is DecisionKind.RISK_UPDATE:
            self.world.send(OWNER, "enable_decision_kind", kind)
        else:
            self.world.send(GUARDIAN, "disable_decision_kind", kind)
        self.reread_halts()

    @invariant()
    def slots_are_the_mirror_s(self):
        words = self.world.read("slots", 0, MARKETS)
        assert list(words) == [risk_oracle.encode_slot(market) for market in self.state.markets]

    @invariant()
    def views_are_the_mirror_s(self):
        controls, guards = self.state.controls, self.state.guards
        for market, state in enumerate(self.state.markets):
            view = self.world.parameters(market)
            values = risk_oracle.values_for_new_risk(state, guards[market], self.now_s)
            assert view["effective_maintenance_ppm"] == effective_maintenance_ppm(
                state, self.now_s, controls
            )
            assert view["cap_e2"] == values.cap_e2
            assert view["open_interest_cap_usdc"] == values.open_interest_cap_usdc
            assert view["size_scale_usdc"] == values.size_scale_usdc
            assert view["spread_ppm"] == values.spread_ppm
            assert view["reduce_only"] == values.reduce_only
            assert view["expired"] == state.expired(self.now_s)
            assert view["valid_until"] == state.valid_until_ms
            assert view["class_id"] == CLASS
            granted = risk_oracle.permissions(state, guards[market], controls, self.now_s)
            assert self.world.read("permissions", market) == granted
            self.margin_is_the_other_views(market, view, granted)

    def margin_is_the_other_views(self, market, view, granted):
        state, guard = self.state.markets[market], self.state.guards[market]
        bounds = self.state.bounds[CLASS]
        word = self.world.read("margin", market)
        expected = readings.margin_word(state, guard, self.state.controls, bounds, self.now_s)
        assert word == expected
        assert readings.decode_margin(word) == readings.MarketMargin(
            permissions=granted,
            halted=view["frozen"] or guard.pause_until_s > self.now_s,
            **{name: view[name] for name in SHARED},
        )

    @invariant()
    def liquidation_s_last_pause_is_never_forgotten(self):
        for market, guard in enumerate(self.state.guards):
            resumes_s = self.world.read("liquidation_resumes_at", market)
            assert resumes_s == halts.liquidation_resumes_at(self.state.controls, guard)
            granted = Permissions(self.world.read("permissions", market))
            assert (Permissions.LIQUIDATE in granted) == (resumes_s <= self.now_s)
            if Permissions.LIQUIDATE not in granted:
                self.last_stopped_s[market] = self.now_s
            assert resumes_s >= self.last_stopped_s[market]

    @invariant()
    def epochs_are_the_mirror_s(self):
        controls = self.state.controls
        assert self.world.read("ai_epoch") == controls.ai_epoch
        assert self.world.read("ramp_stopped_at", controls.ai_epoch) == 0
        for epoch in ((controls.ai_epoch - 1) % EPOCHS, (controls.ai_epoch + 1) % EPOCHS):
            assert self.world.read("ramp_stopped_at", epoch) == controls.ramp_stopped_at(epoch)

    @invariant()
    def packed_halts_decode_to_themselves(self):
        word, _ = self.world.read("controls")
        assert halts.encode_controls(self.state.controls) == word
        guards = self.world.read("guards", 0, MARKETS)
        assert [halts.encode_guard(guard) for guard in self.state.guards] == list(guards)


TestRiskOracleIsItsMirror = OracleMachine.TestCase
TestRiskOracleIsItsMirror.settings = settings(
    max_examples=60 if FAST else 4,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
