"""Facts about the loop over positions: it wakes, it survives the world's faults, it stops harm."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

from agent.positions.action_turn import RESULTS
from agent.positions.actions import Withheld
from agent.positions.ahead import NOTHING_AHEAD
from agent.positions.keeper import Task, TaskKind
from agent.positions.levels import LEVELS
from agent.positions.look import Done, Turn, entry_of
from agent.positions.loop import FREEZE_S, Guardian, PositionLoop
from agent.positions.reconcile import Difference, Sum
from agent.positions.telemetry import PositionTelemetry
from relayer.chain.index import Index
from relayer.chain.index_reader import Advance
from relayer.delivery.calls import PAUSE, ContractCall
from relayer.delivery.states import Effective, Failed, FailureReason, Outcome
from relayer.errors import StorageFailed, Unreachable
from relayer.position_metrics import PositionMetrics, PositionVocabulary

ORACLE = "0x" + "0a" * 20
NOW_MS = 1_700_000_000_000
HARM = Difference(what=Sum.CREDITED, market=None, expected=5, found=4, harmful=True)
EFFECTIVE = Effective(tx_hash=b"\1" * 32, block_number=7, gas_used=1, skipped=())


@dataclass
class Turning:
    """Positions that take turns as told."""

    faults: list[Exception] = field(default_factory=list)
    sums: tuple[tuple[Difference, ...], tuple[Difference, ...]] = ((), ())
    turns: int = 0
    warner: None = None
    actor: None = None
    index: Index = field(default_factory=Index)
    turned: asyncio.Event = field(default_factory=asyncio.Event)

    async def turn(self) -> Turn:
        self.turns += 1
        self.turned.set()
        if self.faults:
            raise self.faults.pop(0)
        return Turn(advance=Advance(block=(self.turns, b"")))

    async def reconcile(self) -> tuple[tuple[Difference, ...], tuple[Difference, ...]]:
        return self.sums


@dataclass
class Sending:
    """A way to the chain that takes everything."""

    calls: list[ContractCall] = field(default_factory=list)
    resumed: int = 0

    async def call(self, call: ContractCall) -> Outcome:
        self.calls.append(call)
        return EFFECTIVE

    async def resume(self) -> tuple[Outcome, ...]:
        self.resumed += 1
        return ()


def metrics() -> PositionMetrics:
    known = PositionVocabulary(
        tasks=tuple(kind.value for kind in TaskKind),
        sums=tuple(each.value for each in Sum),
        levels=tuple(level.label for level in LEVELS),
        notices=("taken", "refused"),
        actions=("adjust", "deleverage", "liquidate"),
        action_results=RESULTS,
        withheld=tuple(each.value for each in Withheld),
    )
    return PositionMetrics(CollectorRegistry(), known)


@dataclass
class Stand:
    """A loop with everything around it."""

    guardian: bool = True
    positions: Turning = field(default_factory=Turning)
    sending: Sending = field(default_factory=Sending)
    metrics: PositionMetrics = field(default_factory=metrics)
    said: list[str] = field(default_factory=list)

    def loop(self) -> PositionLoop:
        caller = self.sending if self.guardian else None
        return PositionLoop(
            self.positions,  # type: ignore[arg-type]
            PositionTelemetry(self.metrics),
            Guardian(caller, 6343, ORACLE),
            self.sending,  # type: ignore[arg-type]
        )

    async def run(self, wakes: int) -> None:
        """Wake the loop so many times, then stop it."""
        loop, stopping = self.loop(), asyncio.Event()
        running = asyncio.create_task(loop.run(stopping, lambda why, _: self.said.append(why)))
        for _ in range(wakes):
            self.positions.turned.clear()
            loop.wake()
            await asyncio.wait_for(self.positions.turned.wait(), 30)
        stopping.set()
        await asyncio.wait_for(running, 30)


async def test_loop__woken__takes_a_turn_each_time() -> None:
    stand = Stand()
    await stand.run(3)
    assert stand.positions.turns == 3
    assert stand.said == []


async def test_loop__faults_of_the_world__are_told_and_it_goes_on() -> None:
    stand = Stand(positions=Turning(faults=[Unreachable("gone"), StorageFailed("full")]))
    await stand.run(3)
    assert stand.positions.turns == 3
    assert stand.said == ["chain_unreachable", "storage_failed"]
    assert stand.sending.resumed == 2


async def test_loop__a_fault_of_ours__ends_it() -> None:
    stand = Stand(positions=Turning(faults=[ZeroDivisionError()]))
    with pytest.raises(ZeroDivisionError):
        await stand.run(1)


async def test_reconcile__harm_that_two_endpoints_show__stops_new_risk_once_an_hour() -> None:
    stand = Stand(positions=Turning(sums=((HARM,), (HARM,))))
    loop = stand.loop()
    for second in (0, 60):
        await loop.after_cycle(NOTHING_AHEAD, NOW_MS + 1_000 * second)
    first, second_ = stand.sending.calls
    assert first.call_hash == second_.call_hash or first.made_at_ms != second_.made_at_ms
    assert first.payload == PAUSE.payload(1, FREEZE_S)
    assert (first.kind, first.contract) == ("guardian", ORACLE)
    assert stand.metrics.totals_confirmed._value.get() == 2


async def test_reconcile__harm_at_one_endpoint__is_said_and_nothing_is_stopped() -> None:
    stand = Stand(positions=Turning(sums=((HARM,), ())))
    await stand.loop().after_cycle(NOTHING_AHEAD, NOW_MS)
    assert stand.sending.calls == []
    assert stand.metrics.totals_harmful._value.get() == 1
    assert stand.metrics.totals_differing["credited"]._value.get() == 1


async def test_reconcile__without_the_guardians_key__says_what_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stand = Stand(guardian=False, positions=Turning(sums=((HARM,), (HARM,))))
    await stand.loop().after_cycle(NOTHING_AHEAD, NOW_MS)
    assert stand.sending.calls == []
    assert "pause new risk by hand" in capsys.readouterr().out


def test_entry__of_a_turn__names_what_was_done_and_what_was_not() -> None:
    task = Task(
        kind=TaskKind.EXECUTE, key="execute aa", contract="desk", payload=b"", valid_until_ms=1
    )
    failed = Failed(reason=FailureReason.REVERTED, detail="no")
    entry = entry_of([Done(task=task, outcome=EFFECTIVE), Done(task=task, outcome=failed)], (1, 2))
    assert entry is not None
    assert (entry.kind, entry.result) == ("keeper", "effective")
    assert entry.detail == "execute aa: effective in block 7"
    assert [(hold.reason, hold.detail) for hold in entry.holds] == [
        ("execute", "execute aa: failed: no")
    ]


def test_telemetry__chances__are_counted_from_each_bound_on() -> None:
    known = metrics()
    PositionTelemetry(known).chances([(0.0, 0.1, 0.3, 0.96), (0.01, 0.2, 0.5, 0.6)])
    counted = {
        key: known.warned_by_chance[key]._value.get()
        for key in (("15m", "0.01"), ("1h", "0.25"), ("4h", "0.25"), ("24h", "0.95"))
    }
    assert list(counted.values()) == [1, 0, 2, 1]
