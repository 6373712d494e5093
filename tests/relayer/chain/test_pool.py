"""Facts about several endpoints as one: dead, slow, stale and lying ones, over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from relayer.chain.endpoints import Call, ChainEndpoint, Taken, block_call
from relayer.chain.pool import EndpointPool, open_pool
from relayer.chain.standing import EndpointMetrics, PoolRules, Standing, Table, Why, outvoted
from relayer.errors import EndpointsDisagree, RelayerError, Unreachable, WrongChain
from tests.relayer.chain.test_endpoints import MISSING, Node

pytestmark = pytest.mark.loopback
CHAIN_ID = 6343
RULES = PoolRules(look_s=600.0, rest_s=600.0, witness_s=30.0)  # looks are the tests' own
LIMITS: Call = ("eth_call", ({"to": "0x" + "11" * 20, "data": "0x"}, "0x64"))
READ = (block_call(100), LIMITS)


class Honest:
    """A chain with one fork-less history, and a contract that answers 7; `head` moves."""

    def __init__(self, head: int = 100, answer: int = 7, history: str = "aa") -> None:
        self.head, self.value, self.history = head, answer, history
        self.asked = 0
        self.node = Node(
            methods={
                "eth_chainId": lambda _: hex(CHAIN_ID),
                "eth_getBlockByNumber": self.block,
                "eth_call": self.call,
                "eth_blockNumber": lambda _: hex(self.head),
                "eth_sendRawTransactionSync": lambda _: {"error": MISSING},
                "eth_sendRawTransaction": lambda _: "0x" + "cc" * 32,
            }
        )

    def block(self, params: list[Any]) -> Any:
        number = self.head if params[0] == "latest" else int(params[0], 16)
        if number > self.head:
            return None
        return {
            "number": hex(number),
            "hash": "0x" + self.history * 30 + f"{number:04x}",
            "timestamp": hex(1_700_000_000 + number),
            "baseFeePerGas": "0x1",
        }

    def call(self, _: list[Any]) -> str:
        self.asked += 1
        return f"0x{self.value:064x}"

    def dies(self) -> None:
        self.node.raw = lambda: web.Response(status=502, text="gone")

    def recovers(self) -> None:
        self.node.raw = None


class House:
    """Nodes on loopback, and pools over them."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.registry = CollectorRegistry()

    async def serve(self, *chains: Honest) -> list[str]:
        for chain in chains:
            application = web.Application()
            application.router.add_post("/", chain.node.handle)
            runner = web.AppRunner(application)
            await runner.setup()
            self._stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            chain.node.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        return [chain.node.url for chain in chains]

    async def pool(self, *chains: Honest, rules: PoolRules = RULES) -> EndpointPool:
        urls = await self.serve(*chains)
        numbers = [str(n) for n in range(1, len(urls) + 1)]
        shown = EndpointMetrics(self.registry, numbers)
        opened = await open_pool(urls, chain_id=CHAIN_ID, rules=rules, metrics=shown)
        self._stack.push_async_callback(opened.close)
        assert isinstance(opened, EndpointPool)
        return opened

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"aml_endpoint_{name}", labels)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        yield House(stack)


def out(pool: EndpointPool) -> list[Why | None]:
    return [pool.table[n].out for n in range(len(pool.members))]


async def test_open__one_url__is_a_plain_endpoint(house: House) -> None:
    (url,) = await house.serve(Honest())
    opened = await open_pool([url], chain_id=CHAIN_ID)
    assert type(opened) is ChainEndpoint
    await opened.close()


@pytest.mark.parametrize("dead", [0, 1])
async def test_open__one_is_dead__the_other_serves(house: House, dead: int) -> None:
    chains = [Honest(), Honest()]
    chains[dead].dies()
    pool = await house.pool(*chains)
    assert out(pool)[dead] is Why.CLOSED
    assert (await pool.batch(READ))[1].endswith("7")
    assert house.metric("comparisons_total", result="alone") == 1.0


async def test_open__spare_of_another_chain__is_left_out(house: House) -> None:
    foreign = Honest()
    foreign.node.methods["eth_chainId"] = lambda _: "0x1"
    pool = await house.pool(Honest(), foreign)
    assert out(pool) == [None, Why.CLOSED]


async def test_open__all_of_another_chain__is_refused(house: House) -> None:
    pair = [Honest(), Honest()]
    for chain in pair:
        chain.node.methods["eth_chainId"] = lambda _: "0x1"
    with pytest.raises(WrongChain):
        await open_pool(await house.serve(*pair), chain_id=CHAIN_ID)


async def test_dead_spare__answers_later__is_opened_and_released(house: House) -> None:
    first, second = Honest(), Honest()
    second.dies()
    pool = await house.pool(first, second, rules=PoolRules(look_s=600.0, rest_s=0.0))
    second.recovers()
    await pool.look()
    assert out(pool) == [None, None]
    await pool.batch(READ)
    assert second.asked == 1


async def test_batch_that_decides__two_say_the_same__is_answered_and_counted(house: House) -> None:
    first, second = Honest(), Honest(head=101)
    pool = await house.pool(first, second)
    assert (await pool.batch(READ))[1].endswith("7")
    assert (first.asked, second.asked) == (1, 1)
    assert house.metric("comparisons_total", result="same") == 1.0


async def test_batch_that_decides__one_of_two_lies__nothing_is_answered(house: House) -> None:
    """Whoever loosened limits at one endpoint only gets no signature at all."""
    pool = await house.pool(Honest(), Honest(answer=8))
    with pytest.raises(EndpointsDisagree, match="1 and 2"):
        await pool.batch(READ)
    assert house.metric("comparisons_total", result="different") == 1.0


@pytest.mark.parametrize("liar", [0, 1, 2])
async def test_batch_that_decides__one_of_three_lies__the_others_are_believed(
    house: House, liar: int
) -> None:
    pool = await house.pool(*(Honest(answer=8 if n == liar else 7) for n in range(3)))
    for _ in range(3):
        assert (await pool.batch(READ))[1].endswith("7")
        # Who is asked is who is fastest; a liar that is asked is found.
        if pool.table[liar].out is Why.LYING:
            break
        await pool.look()
    assert out(pool).count(Why.LYING) <= 1
    assert out(pool)[(liar + 1) % 3] is None


async def test_batch_that_decides__the_second_is_a_block_behind__the_first_is_taken(
    house: House,
) -> None:
    pool = await house.pool(Honest(), Honest(head=99))
    assert (await pool.batch(READ))[1].endswith("7")
    assert house.metric("comparisons_total", result="alone") == 1.0


async def test_batch_that_decides__the_second_is_silent__the_first_is_taken(house: House) -> None:
    slow = Honest()
    pool = await house.pool(Honest(), slow, rules=PoolRules(look_s=600.0, witness_s=0.05))
    await pool.look()
    slow.node.delay_s = 20.0
    assert (await pool.batch(READ))[1].endswith("7")


async def test_call__first_fails__the_second_answers(house: House) -> None:
    first, second = Honest(), Honest(head=105)
    pool = await house.pool(first, second)
    await pool.look()
    first.dies()
    second.head = 106
    assert (await pool.block("latest")).number == 106


async def test_call__faults_in_a_row__is_left_out_and_released_when_it_answers(
    house: House,
) -> None:
    first, second = Honest(), Honest()
    rules = PoolRules(look_s=600.0, rest_s=0.0, faults_in_a_row=3)
    pool = await house.pool(first, second, rules=rules)
    first.dies()
    for _ in range(3):
        await pool.look()
    assert out(pool) == [Why.FAULTS, None]
    first.recovers()
    await pool.look()
    assert out(pool) == [None, None]
    assert house.metric("quarantines_total", endpoint="1", reason="faults") == 1.0


async def test_look__head_stands_still__is_stale_at_the_second_look(house: House) -> None:
    first, second = Honest(), Honest()
    pool = await house.pool(first, second)
    second.head = 120
    await pool.look()
    assert out(pool) == [None, None]
    await pool.look()
    assert out(pool) == [Why.STALE, None]
    assert house.metric("head_lag_blocks", endpoint="1") == 20.0


async def test_look__one_of_three_names_a_head_that_nobody_has__the_others_stay(
    house: House,
) -> None:
    pool = await house.pool(Honest(), Honest(), Honest(head=9_000))
    await pool.look()
    await pool.look()
    assert out(pool)[:2] == [None, None]


async def test_look__two_have_different_blocks__nothing_is_answered_until_they_agree(
    house: House,
) -> None:
    first, second = Honest(), Honest(history="bb")
    pool = await house.pool(first, second)
    for _ in range(3):
        await pool.look()
    with pytest.raises(EndpointsDisagree, match="different blocks 100"):
        await pool.call("eth_blockNumber")
    with pytest.raises(EndpointsDisagree):
        await pool.send(b"\x02")
    second.history = "aa"
    await pool.look()
    assert await pool.call("eth_blockNumber") == hex(100)


async def test_look__one_of_three_has_another_block__is_left_out(house: House) -> None:
    pool = await house.pool(Honest(), Honest(history="bb"), Honest())
    for _ in range(3):
        await pool.look()
    assert out(pool) == [None, Why.LYING, None]


async def test_send__goes_to_one_endpoint(house: House) -> None:
    pool = await house.pool(Honest(), Honest())
    assert await pool.send(b"\x02") == Taken(receipt=None)


async def test_call__all_are_left_out__is_unreachable(house: House) -> None:
    pool = await house.pool(Honest(), Honest())
    for number in (0, 1):
        pool.table.leave_out(number, Why.FAULTS, asyncio.get_running_loop().time())
    with pytest.raises(Unreachable):
        await pool.call("eth_blockNumber")


async def test_open__no_chain_id__is_refused(house: House) -> None:
    with pytest.raises(RelayerError, match="chain_id"):
        await open_pool(["http://127.0.0.1:1", "http://127.0.0.1:2"], chain_id=None)


def test_table__slower_by_far__is_asked_second() -> None:
    table = Table(2, RULES)
    for _ in range(30):
        table.answered(0, 0.5)
        table.answered(1, 0.02)
    assert table.in_use() == [1, 0]
    for _ in range(30):
        table.answered(0, 0.019)
    assert table.in_use() == [1, 0], "hardly better is no reason to change"


def test_table__left_out_again_and_again__rests_longer() -> None:
    table = Table(1, PoolRules(rest_s=5.0))
    table.leave_out(0, Why.FAULTS, 100.0)
    table.release(0)
    table.leave_out(0, Why.FAULTS, 200.0)
    assert table[0].out_until_s == 210.0
    assert not table.rested(0, 209.0)
    assert table.rested(0, 210.0)


def test_outvoted__without_a_majority__is_nobody() -> None:
    assert outvoted({0: "a", 1: "b"}) is None
    assert outvoted({0: "a", 1: "b", 2: "a"}) == [1]
    assert outvoted({}) is None


def test_standing__faults_and_lag__cost() -> None:
    good = Standing(latency_s=0.1)
    assert Standing(latency_s=0.1, faults=0.5).score > good.score
    assert Standing(latency_s=0.1, lag_blocks=3).score > good.score


def test_metrics__a_single_endpoint_that_no_pool_looks_after__counts_as_in_use() -> None:
    registry = CollectorRegistry()
    EndpointMetrics(registry, ["1"])
    assert registry.get_sample_value("aml_endpoint_in_use", {"endpoint": "1"}) == 1.0
