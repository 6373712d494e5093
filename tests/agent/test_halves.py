"""Two halves, one database, one chain: whichever is killed, each decision is posted once."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from agent.config import FOLDER, load_settings
from agent.network import NO_KEYS, local_network
from agent.relaying import DRY_RUN, of_relay, relay
from relayer.local import client
from relayer.storage import create_engine, decisions, deliveries, proposals
from tests.agent.instances import AML, PATIENCE_S, Instance, wait_until
from tests.relayer import postgres

pytestmark = pytest.mark.loopback
UNHEARD = "\n[handover]\nunheard_s = 3.0\n"
SPEED = 10.0
# Half the prices of the local network, twice its parameters: most of the time went into prices.
PACES = {"tick_s = 5.0": "tick_s = 10.0", "every_s = 60": "every_s = 30"}


@dataclass
class House:
    """Both halves over one database."""

    state: Path
    config: Path
    url: str | None
    agent: Instance
    relay: Instance

    @property
    def database(self) -> str:
        (folder,) = (self.state / "chains").iterdir()
        return self.url or f"sqlite:///{folder}/aml.db"

    def rows(self, table: sa.Table) -> list[sa.Row[tuple[object, ...]]]:
        engine = create_engine(self.database)
        with engine.connect() as connection:
            found = list(connection.execute(sa.select(table)).all())
        engine.dispose()
        return found

    def effective(self, kind: str) -> int:
        """How many decisions of a kind took effect, as the agent says it."""
        return len(re.findall(f"kind='{kind}' result='effective'", self.agent.said))

    def goes_on(self) -> None:
        """Wait until prices and parameters have taken effect from now on."""
        before = {kind: self.effective(kind) for kind in ("price", "risk")}
        for kind, count in before.items():
            wait_until(lambda k=kind, n=count: self.effective(k) > n, self.agent)  # type: ignore[misc]

    def require_each_decision_once(self) -> None:
        """Compare proposals, journal and outbox: nothing effective twice, nothing stranded."""
        found = [row for row in self.rows(decisions) if row.state == "effective"]
        rounds = Counter((row.contract, row.round) for row in found)
        assert max(rounds.values()) == 1
        ended = [row for row in self.rows(deliveries) if row.state == "effective"]
        assert len({row.nonce for row in ended}) == len(ended)
        posted = [row for row in self.rows(proposals) if row.state == "effective"]
        assert {row.message_hash for row in posted} == {row.message_hash for row in found}

    def settled(self) -> bool:
        return not [row for row in self.rows(proposals) if row.state in ("proposed", "taken")]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    folder, url = tmp_path_factory.mktemp("halves"), None
    with ExitStack() as stack:
        local = (FOLDER / "local.toml").read_text().replace("port = 910", "port = 0 # ") + UNHEARD
        for shipped, ours in PACES.items():
            assert local.count(f"\n{shipped}") == 1
            local = local.replace(f"\n{shipped}", f"\n{ours}")
        if request.param == "postgresql":
            cluster = stack.enter_context(postgres.running(tcp=True))
            cluster.fresh()
            url = f"postgresql://{postgres.ROLE}@127.0.0.1:{cluster.tcp_port}/test_1"
            local += f'\n[storage]\nurl = "{url}"\n'
        config = folder / "halves.toml"
        config.write_text(local)
        place = ["--network", str(config), "--state", str(folder)]
        client.start(folder, speed=SPEED)
        stack.callback(client.stop, folder)
        subprocess.run([*AML, "deploy", *place], check=True, capture_output=True, timeout=240)
        made = House(
            state=folder,
            config=config,
            url=url,
            agent=Instance([*AML, "agent", *place], folder / "agent.log"),
            relay=Instance([*AML, "relay", *place, "--metrics-port", "0"], folder / "relay.log"),
        )
        for each in (made.agent, made.relay):
            each.start()
        yield made
        for each in (made.agent, made.relay):
            if each.process is not None and each.process.poll() is None:
                each.end(signal.SIGKILL)


@pytest.mark.long
def test_halves__well__prices_and_parameters_take_effect(house: House) -> None:
    house.goes_on()
    house.require_each_decision_once()
    assert "aml_proposals_total" in house.relay.page("metrics at")
    kinds = {row.kind for row in house.rows(proposals)}
    assert {"price", "risk"} <= kinds


@pytest.mark.long
def test_halves__second_of_each__is_refused_or_stands_by(house: House) -> None:
    again = [
        subprocess.Popen(each.command, stderr=subprocess.PIPE, text=True)
        for each in (house.agent, house.relay)
    ]
    for each in again:
        _, said = each.communicate(timeout=PATIENCE_S)
        assert each.returncode == 1
        assert "is in use by another daemon" in said


def test_relay__killed_between_proposal_and_posting__posts_exactly_once(house: House) -> None:
    house.goes_on()  # money hangs on this one: it runs in CI, by itself
    house.relay.end(signal.SIGKILL)
    # what is proposed from here on is neither signed nor posted, and the agent says so
    wait_until(lambda: "reason='no_relay'" in house.agent.said, house.agent)
    done = house.effective("price")
    ends = {row.state for row in house.rows(proposals)}
    assert ends & {"proposed", "taken", "superseded", "expired"}
    assert house.effective("price") == done
    house.relay.start()
    house.goes_on()
    house.require_each_decision_once()


@pytest.mark.long
def test_agent__killed__the_relay_ends_what_was_proposed_and_is_idle(house: House) -> None:
    house.agent.end(signal.SIGKILL)
    wait_until(house.settled, house.relay)
    before = len(house.rows(deliveries))
    time.sleep(2.0)  # a hundred looks of the relay
    assert len(house.rows(deliveries)) == before
    assert house.relay.process is not None
    assert house.relay.process.poll() is None
    house.agent.start()
    house.goes_on()
    house.require_each_decision_once()


@pytest.mark.long
def test_halves__sigterm__end_well(house: House) -> None:
    assert house.agent.end(signal.SIGTERM) == 0
    assert house.relay.end(signal.SIGTERM) == 0
    assert house.settled()


@pytest.mark.long
def test_relay__no_keys__says_dry_run_loudly_and_answers_unsigned(house: House) -> None:
    async def story() -> None:
        world = client.status(house.state).state
        network = replace(local_network(world, house.state), keys=NO_KEYS)
        said: list[str] = []
        settings = of_relay(load_settings(str(house.config)), 0)
        async with relay(network, settings, (said.append, lambda: None)):
            assert DRY_RUN in said

    with capture_logs() as logged:
        asyncio.run(story())
    assert [line["log_level"] for line in logged if line["event"] == "relay_dry_run"] == ["warning"]
