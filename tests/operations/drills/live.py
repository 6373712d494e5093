"""Drills on a real node at the wall's pace: what the embedded chain cannot do, an empty purse."""

from __future__ import annotations

import contextlib
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from relayer.local import client
from relayer.local.state import WorldState
from relayer.signing.keys import address
from tests.agent import test_live as live_network
from tests.operations.drills.gate import Gate
from tests.operations.drills.house import AML, Acts, Process, run
from tests.operations.drills.script import Case, Scene
from tests.operations.drills.server import Prometheus, free_port, until
from tests.relayer.anvil import Anvil, running

FACTOR = 10.0
ETHER = 10**18


@dataclass
class Live:
    """A daemon with key files on anvil; exchanges, clock and chain are at the wall's time."""

    home: Path
    node: Anvil
    gate: Gate
    world: WorldState
    payer: str
    prometheus: Prometheus
    port: int
    daemon: Process
    dry: Process
    acts: Acts = field(default_factory=Acts)

    def fund(self, wei: int) -> None:
        self.node.call("anvil_setBalance", self.payer, hex(wei))

    def wait_for_round(self) -> None:
        before = self.daemon.said.count("result='effective'")
        until(lambda: self.daemon.said.count("result='effective'") > before, "a round")


@contextlib.contextmanager
def live() -> Iterator[tuple[Live, Prometheus]]:
    """Deploy on anvil as an operator would, and run."""
    with (
        TemporaryDirectory(prefix="aml-drill-") as name,
        running(chain_id=live_network.CHAIN_ID, timestamp_s=int(time.time())) as node,
    ):
        folder = Path(name)
        world = live_network.wall_clock_world(folder)
        prometheus = Prometheus.start(folder / "prometheus", FACTOR)
        made = None
        try:
            made = _start(folder, node, world, prometheus)
            yield made, prometheus
        finally:
            if made:
                made.acts.end_all()
                made.daemon.kill()
                made.dry.kill()
            prometheus.kill()
            client.stop(folder / "world")


def _start(folder: Path, node: Anvil, world: WorldState, prometheus: Prometheus) -> Live:
    node.call("evm_setTime", int(time.time()))  # a busy machine starts it late, its clock too
    keys = {role: live_network.write_key(folder, role) for role in live_network.ROLES}
    for path in keys.values():
        node.call("anvil_setBalance", address(path), hex(100 * ETHER))
    port, gate = free_port(), Gate(node.url).start()
    text = live_network.configuration(node, world, keys)
    text = text.replace(node.url, gate.url)
    text = text.replace("[metrics]\nport = 0", f"[metrics]\nport = {port}")
    text = text.replace("every_s = 2", "every_s = 10") + "\n[payer]\nevery_s = 2.0\n"
    (folder / "mine.toml").write_text(text)
    without = text[: text.index("[keys]")] + text[text.index("[prices]") :]
    (folder / "dry.toml").write_text(without)
    run(_command(folder, "deploy", "mine"))
    processes = [
        Process(
            name=name,
            command=_command(folder, "run", name),
            ready="turn_ended",
            log=folder / f"{name}.log",
        )
        for name in ("mine", "dry")
    ]
    made = Live(folder, node, gate, world, address(keys["gas"]), prometheus, port, *processes)
    made.daemon.start()
    prometheus.scrape("aml", [port])
    made.wait_for_round()
    return made


def _command(folder: Path, what: str, name: str) -> tuple[str, ...]:
    where = ("--network", str(folder / f"{name}.toml"), "--state", str(folder / "daemon"))
    return (*AML, what, *where)


def purse_is_nearly_empty(s: Live) -> None:
    """Little is left when the daemon starts, and gas costs half a gwei from now on."""
    s.daemon.stop()
    s.fund(ETHER // 25)
    s.acts.begin("fees", lambda: _mine_dear(s), 2.0)
    s.daemon.start()


def _mine_dear(s: Live) -> None:
    s.node.call("anvil_setNextBlockBaseFeePerGas", hex(5 * 10**8))
    s.node.call("evm_mine")


def purse_is_filled(s: Live) -> None:
    s.fund(100 * ETHER)


def block_is_taken_back(s: Live) -> None:
    """The node goes back to before the newest rounds."""
    mark = s.node.call("evm_snapshot")
    s.wait_for_round()
    s.wait_for_round()
    s.node.call("evm_revert", mark)
    # The node's clock goes back with its blocks; a chain's does not.
    s.node.call("evm_setNextBlockTimestamp", int(time.time()))
    s.node.call("evm_mine")


def nothing(s: Live) -> None:
    """It mends itself: what was taken back is sent again, or has expired."""
    s.wait_for_round()


def blocks_leave_us_out(s: Live) -> None:
    """The node takes transactions and mines none."""
    s.node.call("evm_setAutomine", False)


def blocks_take_us(s: Live) -> None:
    s.node.call("evm_setAutomine", True)
    s.node.call("evm_mine")


def exchange_down(s: Live) -> None:
    """Cycles are close, since each counts once: more than five in the range of the rule."""
    client.switch_venue(s.world, 2, "down")
    _cycle_every(s, 2)


def exchange_well(s: Live) -> None:
    client.switch_venue(s.world, 2, "ok")


def cycles_as_before(s: Live) -> None:
    _cycle_every(s, 10)


def daemon_restarts(s: Live) -> None:
    """It ends by itself each time, as soon as it runs; the service manager starts it again."""

    def started_at() -> float:
        found = s.prometheus.value('process_start_time_seconds{job="aml"}')
        return max((float(each["value"][1]) for each in found), default=0.0)

    def again() -> None:
        before = started_at()
        s.daemon.kill()
        s.daemon.start(wait=False)
        until(lambda: started_at() > before, "the scrape of a start")

    s.acts.begin("restarts", again)


def daemon_stays(s: Live) -> None:
    s.acts.end("restarts")


def cycles_are_too_close(s: Live) -> None:
    s.gate.slow_s = 3.0
    _cycle_every(s, 2)


def cycles_are_further_apart(s: Live) -> None:
    _cycle_every(s, 30)


def endpoint_is_quick(s: Live) -> None:
    s.gate.mend()
    cycles_as_before(s)


def _cycle_every(s: Live, seconds: int) -> None:
    """Change the pace in the file, and have it read again."""
    path = s.home / "mine.toml"
    path.write_text(
        re.sub(r"\[cycle\]\nevery_s = \d+", f"[cycle]\nevery_s = {seconds}", path.read_text())
    )
    assert s.daemon.process is not None
    s.daemon.process.send_signal(signal.SIGHUP)


def keys_are_forgotten(s: Live) -> None:
    """Restarted with a configuration that has lost its [keys]."""
    s.daemon.stop()
    s.dry.start()


def keys_are_given(s: Live) -> None:
    s.dry.stop()
    s.daemon.start()


CASES: tuple[Case[Live], ...] = (
    Case(
        alerts={"AmlReplacing": {}},
        fault="the node takes transactions and mines none",
        provoke=blocks_leave_us_out,
        mended="it mines again",
        mend=blocks_take_us,
        patience_s=200.0,
    ),
    Case(
        alerts={"AmlRolledBack": {}},
        fault="the chain goes back to before our newest round",
        provoke=block_is_taken_back,
        mended="nothing: the rounds go on by themselves",
        mend=nothing,
        patience_s=260.0,
    ),
    Case(
        alerts={"AmlDryRun": {}},
        fault="the daemon is restarted without its keys",
        provoke=keys_are_forgotten,
        mended="it is restarted with them",
        mend=keys_are_given,
        patience_s=260.0,
    ),
    Case(
        alerts={"AmlVenueFaults": {"venue": "local-2"}},
        fault="an exchange drops every connection",
        provoke=exchange_down,
        mended="the exchange answers again",
        mend=exchange_well,
        after=cycles_as_before,
        patience_s=400.0,
    ),
    Case(
        alerts={"AmlRestarting": {"job": "aml"}},
        fault="the daemon ends each time that it is started",
        provoke=daemon_restarts,
        mended="it stays",
        mend=daemon_stays,
        patience_s=400.0,
    ),
    Case(
        alerts={"AmlCyclesLate": {}},
        fault="the endpoint takes three seconds for each answer, and `cycle.every_s` is two",
        provoke=cycles_are_too_close,
        mended="`cycle.every_s` is thirty, by a reload",
        mend=cycles_are_further_apart,
        after=endpoint_is_quick,
        patience_s=400.0,
    ),
    Case(
        alerts={"AmlBalanceLow": {}, "AmlRunwayShort": {}},
        fault="0.04 ether are left to the gas payer, and gas has become dear",
        provoke=purse_is_nearly_empty,
        mended="ether is sent to it",
        mend=purse_is_filled,
        patience_s=1_100.0,
    ),
)
SCENE = Scene(name="live", factor=FACTOR, open=live, cases=CASES)
