"""The account that pays: its runway is shown, and running short is said once."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from agent.config import PayerSettings
from agent.payer import PayerWatch
from relayer.chain.rpc import AccountStanding
from tests.relayer import builders as b

ADDRESS = "0x" + "11" * 20
ETHER = 10**18


class Chain:
    """An account that is as rich as the test says."""

    balance_wei = 0

    async def account(self, address: str) -> AccountStanding:
        assert address == ADDRESS
        return AccountStanding(
            mined_nonce=0, pending_nonce=0, balance_wei=self.balance_wei, base_fee_wei=1
        )


async def test_look__lasts_less_than_the_threshold__warns_once_until_it_is_filled() -> None:
    chain, metrics = Chain(), b.metrics()
    watch = PayerWatch(chain, ADDRESS, PayerSettings(warn_days=3.0), metrics)
    with capture_logs() as logs:
        for hour, balance in enumerate((100, 98, 96, 1_000, 1_000)):
            chain.balance_wei = balance * ETHER
            await watch.look(hour * 3_600.0)
    short = [entry for entry in logs if entry["event"] == "gas_runs_short"]
    assert len(short) == 1
    assert short[0]["days"] == pytest.approx(98 / 2 / 24, abs=0.01)
    shown = metrics.registry.get_sample_value("aml_sender_runway_seconds")
    assert shown == pytest.approx(1_000 / 4 * 4 * 3_600)
    assert metrics.registry.get_sample_value("aml_sender_balance_ether") == 1_000.0


async def test_look__less_than_the_least_is_left__warns_before_there_is_a_pace() -> None:
    chain = Chain()
    chain.balance_wei = ETHER // 100
    watch = PayerWatch(chain, ADDRESS, PayerSettings(warn_ether=0.05), b.metrics())
    with capture_logs() as logs:
        await watch.look(0.0)
    assert [entry["event"] for entry in logs] == ["gas_runs_short"]
