"""Facts about the one screen: whether all is well, and since when not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from agent.standing import MarketStanding, Standing, left
from agent.wellbeing import recent_turns, wellbeing
from contracts.units import UnixS
from relayer.journal import CycleEntry, HoldEntry

NOW_S = UnixS(1_800_000_000)
MARKET = MarketStanding(
    symbol="BTC",
    price_e18=10**18,
    price_age_s=3,
    confidence_ppm=100,
    cap_e2=1_000,
    maintenance_ppm=50_000,
    open_interest_cap_usdc=1_000_000,
    expires_in_s=800,
    opens=True,
    why_not="paused",
)
STANDING = Standing(
    chain_id=1,
    block_number=7,
    at="",
    now_s=NOW_S,
    price_feed="0x",
    risk_oracle="0x",
    feed_round=1,
    oracle_round=1,
    markets=(MARKET,),
)


def turn(ago_s: int, result: str = "effective", *reasons: str) -> CycleEntry:
    at_ms = (NOW_S - ago_s) * 1_000
    return CycleEntry(
        kind="risk",
        started_at_ms=at_ms,
        finished_at_ms=at_ms,
        result=result,
        holds=tuple(HoldEntry(market=None, reason=reason) for reason in reasons),
    )


TURNS = (turn(30), turn(90))


def test_wellbeing__markets_open_and_turns_effective__all_is_well() -> None:
    found = wellbeing(STANDING, TURNS, every_s=60)
    assert found.well
    assert found.journal == "risk turn effective 30 s ago"


def test_wellbeing__no_journal_here__goes_by_the_contracts() -> None:
    assert wellbeing(STANDING, None, every_s=60).well


def test_wellbeing__market_expired__says_since_when() -> None:
    closed = replace(MARKET, opens=False, why_not="expired", not_since_s=UnixS(NOW_S - 400))
    found = wellbeing(replace(STANDING, markets=(MARKET, closed)), TURNS, every_s=60)
    (trouble,) = found.troubles
    assert trouble.what == "BTC takes no new risk: expired"
    assert found.since_s == NOW_S - 400


def test_wellbeing__price_stale_and_market_paused__the_end_is_the_pause_s() -> None:
    closed = replace(MARKET, opens=False, why_not="stale price", until_s=NOW_S)
    found = wellbeing(replace(STANDING, markets=(closed,)), None, 60)
    said = found.troubles[0].what
    assert "stale price; paused as well, until 2027-01-15 08:00:00 UTC" in said


def test_wellbeing__market_paused__says_until_when() -> None:
    closed = replace(MARKET, opens=False, until_s=NOW_S)
    found = wellbeing(replace(STANDING, markets=(closed,)), TURNS, every_s=60)
    assert "paused until 2027-01-15 08:00:00 UTC" in found.troubles[0].what
    assert found.since_s is None


def test_wellbeing__loop_stopped__since_its_last_turn() -> None:
    found = wellbeing(STANDING, (turn(181), turn(241)), every_s=60)
    assert [trouble.what for trouble in found.troubles] == ["no risk turn for 181 s"]
    assert found.since_s == NOW_S - 181


def test_wellbeing__turns_without_effect__since_the_first_of_them_and_why() -> None:
    turns = (
        turn(10, "held", "no_quorum"),
        turn(70, "failed"),
        turn(130),
    )
    (trouble,) = wellbeing(STANDING, turns, every_s=60).troubles
    assert trouble.what == "2 risk turns without effect: held, no_quorum"
    assert trouble.since_s == NOW_S - 70


@pytest.mark.parametrize("name", ["aml.db", "deep/er/aml.db"])
async def test_recent_turns__no_database__is_not_made(tmp_path: Path, name: str) -> None:
    url = URL.create("sqlite", database=str(tmp_path / name))
    assert await recent_turns(url) is None
    assert not any(tmp_path.rglob("*"))  # noqa: ASYNC240 - a folder of the test's own


@pytest.mark.parametrize(("seconds", "shown"), [(800, "800"), (-12, "12 ago"), (None, "none yet")])
def test_left__never_signed_or_lapsed__is_no_negative_number(
    seconds: int | None, shown: str
) -> None:
    assert left(seconds) == shown


def test_wellbeing__signers_hold_what_was_approved__says_where_and_what_to_do() -> None:
    detail = "impact of market 2: signer-1: impact_beyond_budget: 30 accounts"
    hold = HoldEntry(market=None, reason="no_quorum", detail=detail)
    held = replace(turn(5, "held"), holds=(hold,))
    (trouble,) = wellbeing(STANDING, (held,), 60).troubles
    assert detail in trouble.what
    assert "aml approve --list --signer" in trouble.what
