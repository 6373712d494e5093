"""Delivery through bad weather and sudden deaths: nothing lost, nothing twice, nothing stranded.

usage: python -m benchmarks.chaos [--decisions N] [--seed N] [--database sqlite|postgresql]
                                  [--json OUT]

Decisions of both kinds go the daemon's own way (journal, outbox, transactor, read-back) to real
contracts on anvil, through the proxy of `chaos_proxy`; the process kills itself at its steps and is
killed from outside; blocks stop, and are rolled back; the disk takes no more (SQLite), the server
crashes and starts again (PostgreSQL). At the end the chain's events, the outbox and
the journal are compared, decision by decision, and the exit code says whether all agree.
"""
# ruff: noqa: FBT003 -- JSON, and what the node's calls take

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import logging
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks import chaos_daemon, chaos_proxy
from relayer import migrations
from relayer.chain.configuration import read_configuration
from relayer.chain.deploy import Deployer
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.events import PRICE_TOPIC, RISK_TOPIC
from relayer.chain.values import Deployment
from relayer.delivery.fees import FeeRules
from relayer.storage import create_engine, decisions, deliveries
from tests.relayer import builders as b
from tests.relayer import postgres
from tests.relayer.anvil import Anvil, rich_key, running
from tests.relayer.conftest import plan

_DIES_WITH_ITS_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)
DEATH = 0.0012  # at each of the steps: about every fortieth decision dies somewhere
SAY_EVERY_S = 15.0
LIFE_S = 6.0
PATIENT_LIVES, STALLED_LIVES = 5, 80
ENDS = ("effective", "superseded", "expired", "failed")


@dataclass
class Verdict:
    """What was found at the end; `faults` is empty when all agree."""

    decisions: int = 0
    states: Counter[str] = field(default_factory=Counter)
    lives: int = 0
    killed_at_a_step: int = 0
    killed_from_outside: int = 0
    rollbacks: int = 0
    spells_without_blocks: int = 0
    disk_full: int = 0
    database_restarts: int = 0
    proxy: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    overtaken: int = 0
    lost: int = 0
    effective_twice: int = 0
    stranded_nonces: int = 0
    unaccounted: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass
class Weather:
    """What happens to node and process while the daemon works."""

    node: Anvil
    dice: random.Random
    verdict: Verdict
    ahead_ms: int
    decisions: int
    database: Disturbed
    contract: str
    said_s: float = field(default_factory=time.monotonic)
    done: int = 0
    done_in: int = 0

    def _tired(self) -> float:
        """How much milder it is, where life after life a busy machine gets nothing done."""
        return max(1.0, (self.verdict.lives - self.done_in) / PATIENT_LIVES)

    def pass_by(self, child: int) -> int:
        """Let the child live, with blocks that stop and go back; returns how it ended."""
        tired = self._tired()
        until = time.monotonic() + tired * self.dice.expovariate(1 / LIFE_S)
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                self.node.call("evm_setAutomine", True)
                return status
            if time.monotonic() > until:
                os.kill(child, signal.SIGKILL)
                self.verdict.killed_from_outside += 1
                until = time.monotonic() + 60
            time.sleep(0.02)
            if self.dice.random() * tired < 0.03:
                self._stop_blocks()
            elif self.dice.random() * tired < 0.012:
                self._roll_back()
            elif self.dice.random() * tired < 0.004:
                self.database.disturb(child, self.dice, self.verdict)
            if time.monotonic() - self.said_s > SAY_EVERY_S:
                self._say()

    def _say(self) -> None:
        """Say how far it is, and give up where life after life decides nothing."""
        self.said_s, lives = time.monotonic(), self.verdict.lives
        done = self.database.decided()
        print(f"{done}/{self.decisions} decisions, {lives} lives", file=sys.stderr, flush=True)
        if done > self.done:
            self.done, self.done_in = done, lives
        if lives - self.done_in > STALLED_LIVES:
            print("\n".join(self.database.open_rows()), file=sys.stderr)
            raise SystemExit(f"stalled: no decision in {lives - self.done_in} lives")

    def _stop_blocks(self) -> None:
        """Hold transactions in the pool for a while, forget some, then mine them."""
        self.verdict.spells_without_blocks += 1
        self.node.call("evm_setAutomine", False)
        time.sleep(self.dice.uniform(0.05, 0.9))
        if self.dice.random() < 0.3:
            self.node.call("anvil_dropAllTransactions")
        self.node.call("anvil_mine", "0x1")
        self.node.call("evm_setAutomine", True)
        self.node.call("anvil_mine", "0x1")

    def _roll_back(self) -> None:
        """Take back up to three blocks; what was in them is gone until somebody sends it again.

        No block may be made meanwhile: anvil empties its state before it fills it again, and a
        block of that moment is one without contracts, for ever.
        """
        self.node.call("evm_setAutomine", False)
        time.sleep(0.05)
        with suppress(AssertionError):  # now and then anvil no longer has the state to go back to
            self.node.call("anvil_rollback", self.dice.randint(1, 3))
            self.verdict.rollbacks += 1
        # The node would turn its clock back as well; time is not what is tested here.
        self.node.call("evm_setTime", (time.time_ns() // 1_000_000 + self.ahead_ms) // 1_000)
        if self.node.call("eth_getCode", self.contract, "latest") == "0x":
            raise SystemExit("anvil lost the contracts in a rollback: the run says nothing")
        self.node.call("evm_setAutomine", True)
        self.node.call("anvil_mine", "0x1")


@dataclass
class Disturbed:
    """The daemon's database, which may refuse to write or go away for a while."""

    url: str
    cluster: postgres.Postgres | None

    def disturb(self, child: int, dice: random.Random, verdict: Verdict) -> None:
        """Crash the server and start it, or let no file of the daemon's grow for a while."""
        spell_s = dice.uniform(0.1, 1.0)
        if self.cluster is not None:
            verdict.database_restarts += 1
            self.cluster.stop()
            time.sleep(spell_s)
            self.cluster.start()
            return
        verdict.disk_full += 1
        with suppress(ProcessLookupError):
            resource.prlimit(child, resource.RLIMIT_FSIZE, (4_096, resource.RLIM_INFINITY))
            time.sleep(spell_s)
            unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.prlimit(child, resource.RLIMIT_FSIZE, unlimited)

    def decided(self) -> int:
        """Count the decisions so far."""
        query = sa.select(sa.func.count()).select_from(decisions)
        return int(self._ask(query)[0][0])

    def open_rows(self) -> list[str]:
        """Say what has not ended."""
        columns = (deliveries.c.kind, deliveries.c.round, deliveries.c.state, deliveries.c.nonce)
        query = sa.select(*columns).where(deliveries.c.state.not_in(ENDS)).order_by(deliveries.c.id)
        return [" ".join(str(value) for value in row) for row in self._ask(query)]

    def _ask(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        engine = create_engine(self.url)
        try:
            with engine.connect() as connection:
                return connection.execute(query).all()
        finally:
            engine.dispose()


def run(count: int, seed: int, database: str = "sqlite", death: float = DEATH) -> Verdict:
    """Deliver so many decisions through everything, and judge."""
    verdict, dice = Verdict(), random.Random(seed)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name, _database(database, Path(name)) as disturbed:
        folder, url = Path(name), disturbed.url
        migrations.upgrade(url)
        options = ("--slots-in-an-epoch", "8")  # 16 blocks to a final one
        with running(*options, chain_id=b.CHAIN_ID, timestamp_s=b.NOW_S) as node:
            deployment, digests = asyncio.run(_deploy(node))
            for _ in range(20):  # so that no rollback reaches the deployment
                node.call("anvil_mine", "0x1")
            with _proxy(node, folder, seed) as proxy:
                job = chaos_daemon.Job(
                    database_url=url,
                    rpc_url=f"http://127.0.0.1:{proxy.port}",
                    clock_ahead_ms=_ahead_ms(node),
                    deployment=deployment,
                    digests=digests,
                    seed=seed,
                    decisions=count,
                    death=death,
                )
                place, ahead_ms = deployment.price_feed, job.clock_ahead_ms
                _storm(job, Weather(node, dice, verdict, ahead_ms, count, disturbed, place))
                proxy.calm_down()
                _calm(job, count)
            verdict.proxy = json.loads((folder / "port.json").read_text())
            judge(node, deployment, url, verdict)
    verdict.seconds = time.monotonic() - started
    return verdict


def _ahead_ms(node: Anvil) -> int:
    """Say how far the chain's time is ahead of the machine's."""
    node.call("anvil_mine", "0x1")
    stamp = int(node.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    return stamp * 1_000 - time.time_ns() // 1_000_000


def _storm(job: chaos_daemon.Job, weather: Weather) -> None:
    """Begin the process again and again until it ended well."""
    while True:
        weather.verdict.lives += 1
        seed = weather.dice.getrandbits(32)
        status = weather.pass_by(_fork(partial(chaos_daemon.live, replace(job, seed=seed))))
        if os.WIFSIGNALED(status):
            continue
        if os.WEXITSTATUS(status) == 0:
            break
        raise SystemExit("the daemon ended with a fault of its own; its traceback is above")
    weather.verdict.killed_at_a_step = (
        weather.verdict.lives - 1 - weather.verdict.killed_from_outside
    )


def _calm(job: chaos_daemon.Job, count: int) -> None:
    """One more life in good weather, which must also land a decision of its own."""
    child = _fork(partial(chaos_daemon.live, replace(job, decisions=count + 2, death=0.0)))
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit("the last life, in calm weather, did not end well")


def _fork(work: Callable[[], None]) -> int:
    """Run work in a process of its own; everything is imported already, so it costs no start."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    ctypes.CDLL(None).prctl(_DIES_WITH_ITS_PARENT, signal.SIGKILL)
    try:
        work()
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


@dataclass
class RunningProxy:
    """The proxy's process."""

    port: int
    process: int

    def calm_down(self) -> None:
        """End the bad weather."""
        os.kill(self.process, signal.SIGUSR1)


@contextmanager
def _proxy(node: Anvil, folder: Path, seed: int) -> Iterator[RunningProxy]:
    port_file = folder / "port"
    process = _fork(lambda: chaos_proxy.serve(node.url, port_file, seed))
    while not port_file.exists() or not port_file.read_text():
        time.sleep(0.01)
    try:
        yield RunningProxy(int(port_file.read_text()), process)
    finally:
        os.kill(process, signal.SIGTERM)
        os.waitpid(process, 0)


@contextmanager
def _database(kind: str, folder: Path) -> Iterator[Disturbed]:
    if kind == "sqlite":
        yield Disturbed(f"sqlite:///{folder}/aml.db", None)
        return
    with postgres.running() as cluster:
        yield Disturbed(cluster.fresh(), cluster)


async def _deploy(node: Anvil) -> tuple[Deployment, tuple[bytes, bytes]]:
    endpoint = await ChainEndpoint.open(node.url, chain_id=b.CHAIN_ID)
    try:
        deployment = await Deployer(endpoint, rich_key(), FeeRules()).deploy(plan())
        contracts = (deployment.price_feed, deployment.risk_oracle)
        feed, oracle = [(await read_configuration(endpoint, c)).config_digest for c in contracts]
        return deployment, (feed, oracle)
    finally:
        await endpoint.close()


def judge(node: Anvil, deployment: Deployment, url: str, verdict: Verdict) -> None:
    """Compare journal, outbox and chain, decision by decision."""
    engine = create_engine(url)
    with engine.connect() as connection:
        journal = connection.execute(sa.select(decisions)).all()
        outbox = {row.message_hash: row for row in connection.execute(sa.select(deliveries))}
    engine.dispose()
    landed = _landed(node, deployment)
    verdict.decisions = len(journal)
    for row in journal:
        verdict.states[row.state] += 1
        sent = outbox.get(row.message_hash)
        times = landed[bytes(row.message_hash)]
        where = f"{row.kind} round {row.round}: journal {row.state}, "
        where += f"outbox {sent.state if sent else 'none'}, on chain {times} times"
        if row.state == "planned" or (sent and sent.state not in ENDS):
            verdict.lost += 1
            verdict.faults.append(f"lost: {where}")
        elif times > 1:
            verdict.effective_twice += 1
            verdict.faults.append(f"twice: {where}")
        elif times == 1 and row.state == "superseded" and row.tx_hash is not None:
            verdict.overtaken += 1  # landed, and a newer round of the same block is what counts
        elif (times == 1) != (row.state == "effective") or (sent and sent.state != row.state):
            verdict.unaccounted += 1
            verdict.faults.append(f"unaccounted: {where}; {row.reason}")
    strangers = set(landed) - {bytes(row.message_hash) for row in journal}
    verdict.unaccounted += len(strangers)
    verdict.faults += [f"on chain, and in no journal: 0x{each.hex()}" for each in strangers]
    sender = rich_key().address
    mined = int(node.call("eth_getTransactionCount", sender, "latest"), 16)
    pending = int(node.call("eth_getTransactionCount", sender, "pending"), 16)
    queued = int(node.call("txpool_status")["queued"], 16)
    verdict.stranded_nonces = pending - mined + queued
    if verdict.stranded_nonces:
        verdict.faults.append(f"nonces: {mined} mined, {pending} pending, {queued} queued")


def _landed(node: Anvil, deployment: Deployment) -> Counter[bytes]:
    """Count by message hash how often each contract says that it took a message."""
    found: Counter[bytes] = Counter()
    for contract in (deployment.price_feed, deployment.risk_oracle):
        query = {"fromBlock": "0x0", "toBlock": "latest", "address": contract}
        for log in node.call("eth_getLogs", query):
            if bytes.fromhex(log["topics"][0][2:]) in {PRICE_TOPIC, RISK_TOPIC}:
                # Time of observation, message's hash, hashes, and where the skipped items begin.
                words = bytes.fromhex(log["data"][2:])
                price = contract == deployment.price_feed
                at = int.from_bytes(words[96:128] if price else words[128:160], "big")
                if int.from_bytes(words[at : at + 32], "big") < chaos_daemon.MARKETS:
                    found[words[32:64]] += 1  # else nothing of it took effect
    return found


def table(verdict: Verdict) -> str:
    """Write what happened and what was found."""
    lines = [
        ("decisions", verdict.decisions),
        *((f"  {state}", number) for state, number in sorted(verdict.states.items())),
        ("  of them landed, then overtaken", verdict.overtaken),
        ("lives of the daemon", verdict.lives),
        ("  killed by SIGKILL at a step", verdict.killed_at_a_step),
        ("  killed by SIGKILL from outside", verdict.killed_from_outside),
        ("spells without blocks", verdict.spells_without_blocks),
        ("rollbacks of 1 to 3 blocks", verdict.rollbacks),
        ("spells in which the disk is full", verdict.disk_full),
        ("crashes of the database's server", verdict.database_restarts),
        ("requests through the proxy", verdict.proxy.get("requests", 0)),
        *(
            (f"  {name.replace('_', ' ')}", number)
            for name, number in sorted(verdict.proxy.items())
            if name != "requests"
        ),
        ("seconds", round(verdict.seconds)),
        ("lost", verdict.lost),
        ("effective twice", verdict.effective_twice),
        ("stranded nonces", verdict.stranded_nonces),
        ("unaccounted for", verdict.unaccounted),
    ]
    return "\n".join(f"{name:<36}{value:>8}" for name, value in lines)


def main() -> None:
    """Run, print the table, and fail where anything disagrees."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)  # as the daemon has it
    verdict = run(given.decisions, given.seed, given.database)
    print(table(verdict))
    for fault in verdict.faults[:40]:
        print(f"  {fault}")
    if given.json:
        given.json.write_text(json.dumps(verdict.__dict__, indent=1) + "\n")
    sys.exit(1 if verdict.faults else 0)


if __name__ == "__main__":
    main()
