"""Facts about the owner's acts: each batch file, executed by the owner, does what it says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.config import load_settings
from agent.deploying import policy_hash
from agent.errors import ConfigError
from agent.owner import acts
from agent.owner.acts import ENGINE, FEED, ORACLE, SignerChange
from agent.owner.adding import with_added
from agent.owner.steps import steps
from contracts.book_words import decode_rules
from contracts.fields import checksummed
from contracts.halts import DecisionKind, PauseScope
from contracts.refusals import Refusal
from contracts.units import MarketId
from relayer.chain.values import DeployedMarket, Deployment
from relayer.market.values import Market
from tests.agent.owner.offices import Stand
from tests.contracts.chain import RefusedError
from tests.contracts.world import CLASS, GUARDIAN, OWNER, TIMELOCK_S

SETTINGS = load_settings("local")
assert SETTINGS.deployment is not None
WANTED = SETTINGS.deployment
TWO_STEPS = ("1-announce", "2-execute")
NEW = checksummed("0x" + "5e" * 20)


@pytest.fixture
def stand() -> Stand:
    return Stand()


def test_resume__everything_that_guardian_stopped__goes_on(stand: Stand) -> None:
    oracle = stand.contracts[ORACLE]
    for scope in PauseScope:
        oracle.send(GUARDIAN, "pause", int(scope), 3_600)
    oracle.send(GUARDIAN, "disable_decision_kind", int(DecisionKind.ADJUST))
    oracle.send(GUARDIAN, "pause_market", 0, 3_600)
    oracle.send(GUARDIAN, "freeze_market", 1)
    oracle.send(GUARDIAN, "tighten_market", 2, 200, 5, True, 3_600)
    calls = acts.resume_everything(stand.owned, stand.state.oracle, stand.now_s)
    assert len(calls) == 9
    assert stand.carry_out(calls) == ("at-once",)
    after = stand.state.oracle
    assert acts.resume_everything(stand.owned, after, stand.now_s) == ()
    assert not after.markets[1].frozen
    assert not after.controls.disabled_kinds


def test_add_market__announced_then_executed__stands_in_all_three(stand: Stand) -> None:
    count = len(stand.state.oracle.markets)
    market = Market(market=MarketId(count), symbol="NEW", class_id=CLASS, listings=())
    calls = acts.add_market(stand.owned, market, count, WANTED)
    assert stand.carry_out(calls) == TWO_STEPS
    assert len(stand.state.feed.markets) == len(stand.state.oracle.markets) == count + 1
    assert stand.contracts[ENGINE].read("market_count") == count + 1
    rules = decode_rules(stand.contracts[ENGINE].read("rules", count))
    assert rules == acts.margin_rules(CLASS, WANTED)
    assert stand.state.oracle.markets[count].expired(stand.now_s)


def test_with_added__the_contracts_have_it__the_deployment_file_gets_it(stand: Stand) -> None:
    before = stand.state
    count = len(before.oracle.markets)
    market = Market(market=MarketId(count), symbol="NEW", class_id=CLASS, listings=())
    file = deployment(count)
    assert with_added(file, before, market) is None
    stand.carry_out(acts.add_market(stand.owned, market, count, WANTED))
    grown = with_added(file, stand.state, market)
    assert grown is not None
    assert (grown.markets[count].symbol, grown.markets[count].class_id) == ("NEW", CLASS)
    assert with_added(grown, stand.state, market) is None
    with pytest.raises(ConfigError, match="contracts have class"):
        with_added(file, stand.state, replace(market, class_id=CLASS + 1))
    with pytest.raises(ConfigError, match="before it first"):
        with_added(deployment(count - 1), stand.state, market)


def deployment(count: int) -> Deployment:
    markets = [
        DeployedMarket(market=MarketId(n), symbol=f"M{n}", class_id=CLASS) for n in range(count)
    ]
    return Deployment(
        chain_id=1,
        price_feed=NEW,
        risk_oracle=NEW,
        block_number=1,
        markets=tuple(markets),
    )


def test_add_market__not_the_next_table__is_refused(stand: Stand) -> None:
    market = Market(market=MarketId(7), symbol="NEW", class_id=CLASS, listings=())
    with pytest.raises(ConfigError, match="is table 7"):
        acts.add_market(stand.owned, market, 3, WANTED)
    with pytest.raises(ConfigError, match="is on the contracts already"):
        acts.add_market(stand.owned, market, 8, WANTED)


def test_reduce_only__longer_than_the_contract_takes__is_refused(stand: Stand) -> None:
    with pytest.raises(ConfigError, match="at most 30 d"):
        acts.reduce_only(stand.owned, stand.state.oracle, MarketId(1), 31 * 86_400)


def test_reduce_only__executed__nothing_opens_and_the_cap_stays(stand: Stand) -> None:
    before = stand.state.oracle.markets[1].values
    calls = acts.reduce_only(stand.owned, stand.state.oracle, MarketId(1), 86_400)
    assert stand.carry_out(calls) == ("at-once",)
    guard = stand.state.oracle.guards[1]
    assert guard.limit_reduce_only
    assert guard.limits(stand.now_s)
    assert guard.limit_cap_e2 == before.cap_e2
    assert guard.limit_open_interest_cap_usdc == before.open_interest_cap_usdc


def test_settle__a_day_after_the_last_price__fixes_the_market(stand: Stand) -> None:
    assert stand.carry_out(acts.settle(stand.owned, MarketId(2))) == TWO_STEPS
    with pytest.raises(RefusedError) as caught:
        stand.carry_out(acts.settle(stand.owned, MarketId(2)))
    assert caught.value.refusal is Refusal.MARKET_SETTLED


def test_bounds__file_says_otherwise__contracts_have_the_files(stand: Stand) -> None:
    rules = {MarketId(m): stand.contracts[ENGINE].read("rules", m) for m in range(3)}
    calls = acts.bounds(stand.owned, stand.state, WANTED, rules)
    assert {call.function for call in calls} == {"set_class", "set_rules"}
    before = stand.state.oracle.config.config_digest
    assert stand.carry_out(calls) == TWO_STEPS
    rules = {MarketId(m): stand.contracts[ENGINE].read("rules", m) for m in range(3)}
    again = acts.bounds(stand.owned, stand.state, WANTED, rules)
    # classes that no market has yet are not read back
    assert {call.values[0] for call in again} <= {2, 3}
    assert stand.state.oracle.config.config_digest != before


def test_signers__rotated__never_fewer_than_the_threshold(stand: Stand) -> None:
    config = stand.state.feed.config
    change = SignerChange(contract=FEED, add=(NEW,), remove=config.signers[:1], threshold=3)
    calls = acts.signers(stand.owned, change, config)
    assert [c.function for c in calls] == ["add_signer", "set_threshold", "remove_signer"]
    assert stand.carry_out(calls) == TWO_STEPS
    after = stand.state.feed.config
    assert set(after.signers) == (set(config.signers) | {NEW}) - set(config.signers[:1])
    assert after.threshold == 3
    assert after.config_digest != config.config_digest


def test_signers__only_removed__is_at_once(stand: Stand) -> None:
    config = stand.state.oracle.config
    change = SignerChange(contract=ORACLE, remove=config.signers[:1])
    assert stand.carry_out(acts.signers(stand.owned, change, config)) == ("at-once",)
    assert config.signers[0] not in stand.state.oracle.config.signers


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"add": "standing"}, "is a signer of PriceFeed already"),
        ({"remove": (NEW,)}, "is no signer"),
        ({"threshold": 9}, "signers would be left"),
        ({}, "--add, --remove or --threshold"),
    ],
)
def test_signers__impossible_change__is_refused_before_it_is_written(
    stand: Stand, change: dict[str, object], says: str
) -> None:
    config = stand.state.feed.config
    plain = {k: config.signers[:1] if v == "standing" else v for k, v in change.items()}
    with pytest.raises(ConfigError, match=says):
        acts.signers(stand.owned, SignerChange(contract=FEED, **plain), config)  # type: ignore[arg-type]


def test_policy__executed__both_contracts_have_the_files(stand: Stand) -> None:
    planned = policy_hash(SETTINGS)
    standing = {name: stand.contracts[name].read("policy_hash") for name in (FEED, ORACLE)}
    assert stand.carry_out(acts.policy(stand.owned, planned, standing)) == TWO_STEPS
    standing = {name: stand.contracts[name].read("policy_hash") for name in (FEED, ORACLE)}
    assert acts.policy(stand.owned, planned, standing) == ()


def test_guardian__another__waits_everywhere(stand: Stand) -> None:
    standing = {name: each.guardian for name, each in stand.authorities.items()}
    assert stand.carry_out(acts.guardian(stand.owned, NEW, standing)) == TWO_STEPS
    assert {each.guardian for each in stand.authorities.values()} == {NEW}


def test_guardian__the_owner_itself__is_at_once(stand: Stand) -> None:
    standing = {name: each.guardian for name, each in stand.authorities.items()}
    assert stand.carry_out(acts.guardian(stand.owned, OWNER, standing)) == ("at-once",)
    assert {each.guardian for each in stand.authorities.values()} == {OWNER}


def test_pause__owner_for_a_week__holds(stand: Stand) -> None:
    calls = acts.pause(stand.owned, PauseScope.NEW_RISK, 7 * 86_400)
    assert stand.carry_out(calls) == ("at-once",)
    assert stand.state.oracle.controls.new_risk_until_s == stand.now_s + 7 * 86_400
    with pytest.raises(ConfigError, match="at most 30 d"):
        acts.pause(stand.owned, PauseScope.NEW_RISK, 31 * 86_400)


def test_propose__accept__ownership_moves_everywhere(stand: Stand) -> None:
    stand.carry_out(stand.owned.everywhere("propose_owner", NEW))
    assert acts.proposed_owner(stand.authorities) == NEW
    for name, contract in stand.contracts.items():
        call = stand.owned.call(name, "accept_ownership")
        contract.send_raw(NEW, call.payload)
    assert {each.owner for each in stand.authorities.values()} == {NEW}


def test_steps__announced_already__only_execution_is_left_and_says_from_when(stand: Stand) -> None:
    calls = acts.settle(stand.owned, MarketId(0))
    announce, _ = stand.steps(calls)
    stand.execute(announce)
    announced_s = stand.now_s
    stand.world.wait(60)
    (execute,) = stand.steps(calls)
    assert execute.name == "2-execute"
    assert execute.not_before_s == announced_s + TIMELOCK_S
    assert execute.until_s == announced_s + TIMELOCK_S + 14 * 86_400
    with pytest.raises(RefusedError) as caught:
        stand.execute(execute)
    assert caught.value.refusal is Refusal.TIMELOCK_RUNNING


def test_steps__lapsed__is_withdrawn_and_announced_anew(stand: Stand) -> None:
    calls = acts.settle(stand.owned, MarketId(0))
    stand.execute(stand.steps(calls)[0])
    stand.world.wait(TIMELOCK_S + 14 * 86_400 + 1)
    announce, _ = stand.steps(calls)
    assert [call.function for call in announce.calls] == ["cancel_scheduled", "schedule"]
    assert stand.carry_out(calls) == TWO_STEPS


def test_cancel__announced_call__is_withdrawn_where_it_stands(stand: Stand) -> None:
    (call,) = acts.settle(stand.owned, MarketId(0))
    stand.execute(stand.steps((call,))[0])
    etas = {n: c.read("scheduled", call.operation) for n, c in stand.contracts.items()}
    cancelled = acts.cancel(stand.owned, call.operation, etas)
    assert [each.contract for each in cancelled] == [ENGINE]
    assert stand.carry_out(cancelled) == ("at-once",)
    assert stand.contracts[ENGINE].read("scheduled", call.operation) == 0


def test_steps__not_launched__nothing_waits(stand: Stand) -> None:
    calls = acts.settle(stand.owned, MarketId(0))
    before = {name: replace(a, launched=False) for name, a in stand.authorities.items()}
    (only,) = steps(calls, before, {}, stand.now_s)
    assert only.name == "at-once"
