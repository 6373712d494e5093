"""Facts about the lease on a real PostgreSQL: one holder, rising terms, late writes kept out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from sqlalchemy.engine import make_url

from relayer import migrations
from relayer.delivery.led import LedChain
from relayer.errors import Misconfigured, NotLeading, StorageFailed
from relayer.lease import Lease, LeaseMetrics, LeaseTimes, open_lease
from relayer.storage import Database, Waits, leases, signed_rounds
from tests.relayer import postgres
from tests.relayer.test_storage import ROW

NAME = "sender:6343:feed"
LONG = LeaseTimes(heartbeat_s=10.0, lasts_s=60.0)
SHORT = LeaseTimes(heartbeat_s=0.05, lasts_s=0.2)
INSERT = sa.insert(signed_rounds).values(ROW)


class Instances:
    """Processes that share one database, as far as a lease can tell; time passes when told to."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self.url, self._stack, self._now_s = url, stack, 100.0

    async def lease(self, times: LeaseTimes = LONG) -> Lease:
        opening = open_lease(make_url(self.url), NAME, times, lambda: self._now_s)
        return await self._stack.enter_async_context(opening)

    def database(self, lease: Lease | None = None) -> Database:
        patient = Waits(statement_s=60.0, socket_s=60.0)
        opened = Database.open(self.url, patient, None if lease is None else lease.fence)
        self._stack.push_async_callback(opened.close)
        return opened

    async def later(self, seconds: float) -> None:
        """Let time pass for the database's lease and for every process."""
        self._now_s += seconds
        ended = {"expires_at": leases.c.expires_at - timedelta(seconds=seconds)}
        await self.database().write(lambda c: c.execute(sa.update(leases).values(ended)))


@pytest.fixture
async def instances(postgresql: postgres.Postgres) -> AsyncIterator[Instances]:
    url = postgresql.fresh()
    migrations.upgrade(url)
    async with AsyncExitStack() as stack:
        yield Instances(url, stack)


async def test_take__two_ask_at_once__one_has_it(instances: Instances) -> None:
    several = [await instances.lease() for _ in range(4)]
    answers = await asyncio.gather(*(lease.take() for lease in several))
    assert sorted(answers) == [False, False, False, True]
    assert [lease.held for lease in several] == answers


async def test_take__held_by_another__is_refused_until_it_runs_out(instances: Instances) -> None:
    first, second = await instances.lease(), await instances.lease()
    assert await first.take()
    assert not await second.take()
    await instances.later(61.0)
    assert not first.held
    assert await second.take()
    assert (first.term, second.term) == (1, 2)
    assert not await first.renew()


async def test_renew__each_heartbeat__nobody_else_gets_it(instances: Instances) -> None:
    first, second = await instances.lease(), await instances.lease()
    await first.take()
    for _ in range(5):
        await instances.later(40.0)
        assert await first.renew()
        assert not await second.take()
    assert first.held
    assert first.term == 1


async def test_renew__ran_out_and_nobody_took_it__the_term_goes_on(instances: Instances) -> None:
    lease = await instances.lease()
    await lease.take()
    await instances.later(61.0)
    assert not lease.held
    assert await lease.renew()
    assert lease.held
    assert lease.term == 1


async def test_release__the_next_takes_it_at_once_with_the_next_term(instances: Instances) -> None:
    first, second = await instances.lease(), await instances.lease()
    await first.take()
    await first.release()
    assert not first.held
    assert await second.take()
    assert second.term == 2


async def test_require__not_held__says_that_another_may_lead(instances: Instances) -> None:
    lease = await instances.lease()
    with pytest.raises(NotLeading, match="not held"):
        lease.require()
    await lease.take()
    lease.require()


async def test_fence__term_is_over__nothing_is_written(instances: Instances) -> None:
    first, second = await instances.lease(), await instances.lease()
    late = instances.database(first)
    with pytest.raises(NotLeading):
        await late.write(lambda c: c.execute(INSERT))
    await first.take()
    await instances.later(61.0)
    await second.take()
    with pytest.raises(NotLeading, match="nothing is written"):
        await late.write(lambda c: c.execute(INSERT))
    assert await late.read(lambda c: c.execute(sa.select(signed_rounds)).all()) == []


async def test_fence__transaction_under_way__no_other_term_begins_before_it_ends(
    instances: Instances,
) -> None:
    """A leader that is stopped in the middle of a write cannot finish it under a later term."""
    first, second = await instances.lease(), await instances.lease(SHORT)
    await first.take()
    await instances.later(61.0)
    database = instances.database(first)
    with database.engine.connect() as connection, connection.begin():
        first.fence(connection)
        with pytest.raises(StorageFailed, match="timeout"):
            await second.take()
        connection.execute(INSERT)
    assert await second.take()
    rows = await database.read(lambda c: c.execute(sa.select(signed_rounds)).all())
    assert len(rows) == 1


async def test_keep__another_took_it__returns(instances: Instances) -> None:
    first, second = await instances.lease(SHORT), await instances.lease()
    await first.take()
    await instances.later(1.0)
    assert await second.take()
    await asyncio.wait_for(first.keep(), 60)
    assert first.term is None


async def test_keep__server_restarts__goes_on_in_the_same_term() -> None:
    with postgres.running() as cluster:
        url = cluster.fresh()
        migrations.upgrade(url)
        times = LeaseTimes(heartbeat_s=0.05, lasts_s=2.0)
        async with open_lease(make_url(url), NAME, times) as lease:
            await lease.take()
            cluster.stop()
            keeping = asyncio.create_task(lease.keep())
            await _until(lambda: not lease.held)
            cluster.start()
            await _until(lambda: lease.held)
            assert lease.term == 1
            keeping.cancel()


async def _until(true: object) -> None:
    assert callable(true)
    deadline = asyncio.get_running_loop().time() + 60
    while not true():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)


async def test_led_chain__not_held__asks_the_endpoint_for_nothing(instances: Instances) -> None:
    lease = await instances.lease()
    chain = LedChain(None, lease)  # type: ignore[arg-type]
    for asking in (chain.send(b""), chain.receipt(b""), chain.account("0x"), chain.knows(b"")):
        with pytest.raises(NotLeading):
            await asking


async def test_metrics__held_term_and_takeovers(instances: Instances) -> None:
    registry = CollectorRegistry()
    lease = await instances.lease()
    await lease.take()
    lease.show(LeaseMetrics(registry))
    shown = {
        name: registry.get_sample_value(f"aml_lease_{name}")
        for name in ("held", "term", "takeovers_total")
    }
    assert shown == {"held": 1.0, "term": 1.0, "takeovers_total": 1.0}
    await lease.release()
    assert registry.get_sample_value("aml_lease_held") == 0.0
    await lease.take()
    assert registry.get_sample_value("aml_lease_takeovers_total") == 2.0


async def test_open_lease__sqlite__is_refused() -> None:
    with pytest.raises(Misconfigured, match="PostgreSQL"):
        async with open_lease(make_url("sqlite://"), NAME, LONG):
            pass


def test_times__one_late_heartbeat_would_lose_it__is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        LeaseTimes(heartbeat_s=1.0, lasts_s=1.5)


async def test_take__row_of_the_lease__says_who_and_until_when(instances: Instances) -> None:
    lease = await instances.lease()
    await lease.take()
    row = await instances.database().read(lambda c: c.execute(sa.select(leases)).one())
    assert (row.name, row.holder, row.term) == (NAME, lease.holder, 1)
