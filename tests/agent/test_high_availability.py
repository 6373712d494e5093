"""Two daemons, one PostgreSQL, one chain: whatever happens to the leader, one of them posts."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from relayer.local import client
from relayer.storage import create_engine, decisions, deliveries
from tests.agent.instances import AML, Instance, Wire, configuration, wait_until
from tests.relayer import postgres

pytestmark = [pytest.mark.loopback, pytest.mark.long]
HEARTBEAT_S, LASTS_S = 1.0, 6.0  # a busy machine is not to lose a lease by itself


@dataclass
class House:
    """Two instances; the first reaches the database through a wire that can be cut."""

    state: Path
    url: str
    wire: Wire
    first: Instance
    second: Instance

    def rows(self, table: sa.Table) -> list[sa.Row[tuple[object, ...]]]:
        engine = create_engine(self.url)
        with engine.connect() as connection:
            found = list(connection.execute(sa.select(table)).all())
        engine.dispose()
        return found

    def leads(self, instance: Instance, after: int) -> float:
        """Wait until an instance leads in a later term, and has posted in it; say how long."""
        waited = wait_until(lambda: max(instance.terms, default=0) > after, instance)
        before = instance.effective
        wait_until(lambda: instance.effective > before, instance)
        return waited

    @property
    def term(self) -> int:
        return max(self.first.terms + self.second.terms, default=0)

    def require_each_decision_once(self) -> None:
        """Compare journal and outbox: nothing effective twice, no nonce used by two."""
        found = self.rows(decisions)
        effective = Counter((r.contract, r.round) for r in found if r.state == "effective")
        assert max(effective.values()) == 1
        transactions = {bytes(r.tx_hash) for r in found if r.state == "effective"}
        assert len(transactions) == sum(effective.values())
        ended = [r for r in self.rows(deliveries) if r.state == "effective"]
        assert len({r.nonce for r in ended}) == len(ended)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("instances")
    with postgres.running(tcp=True) as cluster:
        cluster.fresh()
        assert cluster.tcp_port is not None
        wire = Wire(cluster.tcp_port)
        wire.start()
        client.start(folder, speed=20.0)
        instances = []
        for name, port in (("first", wire.port), ("second", cluster.tcp_port)):
            config = folder / f"{name}.toml"
            url = f"postgresql://{postgres.ROLE}@127.0.0.1:{port}/test_1"
            config.write_text(configuration(url, name, (HEARTBEAT_S, LASTS_S)))
            run = [*AML, "run", "--network", str(config), "--state", str(folder)]
            instances.append(Instance(run, folder / f"{name}.log"))
        deploy = [*AML, "deploy", "--network", str(config), "--state", str(folder)]
        subprocess.run(deploy, check=True, capture_output=True, timeout=120)
        made = House(folder, url, wire, *instances)
        made.first.start()
        made.leads(made.first, 0)
        made.second.start()
        wait_until(lambda: "standing by" in made.second.said, made.second)
        yield made
        for each in (made.first, made.second):
            if each.process is not None and each.process.poll() is None:
                each.end(signal.SIGKILL)
        client.stop(folder)


def test_standby__leader_is_well__posts_nothing_and_says_so_in_its_metrics(house: House) -> None:
    before = house.first.effective
    wait_until(lambda: house.first.effective > before, house.first)
    assert house.second.effective == 0
    assert house.second.terms == []
    assert house.second.metric("aml_lease_held") == 0.0
    assert house.first.metric("aml_lease_held") == 1.0
    assert house.first.metric("aml_lease_term") == house.term


def test_leader__killed__the_standby_leads_in_the_next_term(house: House) -> None:
    term = house.term
    house.first.end(signal.SIGKILL)
    house.leads(house.second, term)
    assert house.second.metric("aml_lease_takeovers_total") == 1.0
    house.first.start()
    house.require_each_decision_once()


def test_leader__sigterm__hands_over_at_once(house: House) -> None:
    wait_until(lambda: house.first.said.count("standing by") >= 1, house.first)
    term = house.term
    assert house.second.end(signal.SIGTERM) == 0
    house.leads(house.first, term)
    house.second.start()
    wait_until(lambda: house.second.said.count("standing by") >= 2, house.second)
    house.require_each_decision_once()


@pytest.mark.parametrize("time", range(2))
def test_leader__stopped_and_continued__posts_nothing_more(house: House, time: int) -> None:
    del time  # wherever in its turn it is stopped
    leader, standby = _by_role(house)
    term = house.term
    leader.send(signal.SIGSTOP)
    house.leads(standby, term)
    done, lost = leader.effective, leader.said.count("another instance has the lease")
    leader.send(signal.SIGCONT)
    wait_until(lambda: leader.said.count("another instance has the lease") > lost, leader)
    assert leader.effective == done
    before = standby.effective
    wait_until(lambda: standby.effective > before, standby)
    assert house.term == max(standby.terms)
    house.require_each_decision_once()


def test_leader__cut_off_from_the_database__stands_by_until_it_is_back(house: House) -> None:
    leader, standby = _by_role(house)
    if leader is not house.first:  # the wire is the first one's
        term = house.term
        leader.end(signal.SIGTERM)
        house.leads(standby, term)
        leader.start()
        leader, standby = standby, leader
    term, lost = house.term, leader.said.count("another instance has the lease")
    house.wire.break_off()
    house.leads(standby, term)
    done = leader.effective
    house.wire.mend()
    wait_until(lambda: leader.said.count("another instance has the lease") > lost, leader)
    assert leader.effective == done
    house.require_each_decision_once()


def test_daemon__same_files_as_another__is_refused(house: House) -> None:
    again = subprocess.run(
        house.first.command, capture_output=True, text=True, timeout=120, check=False
    )
    assert again.returncode == 1
    assert "is in use by another daemon" in again.stderr


def _by_role(house: House) -> tuple[Instance, Instance]:
    """Say who leads now, and who stands by."""
    pair = (house.first, house.second)
    wait_until(lambda: house.term in house.first.terms + house.second.terms, house.first)
    leader = next(each for each in pair if house.term in each.terms)
    return leader, next(each for each in pair if each is not leader)
