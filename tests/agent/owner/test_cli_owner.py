"""Owner's and guardian's commands on the embedded chain, as their users run them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agent.cli.main import app, is_known
from agent.network import local_role
from agent.owner.acts import Owned
from agent.owner.safe import Batch, decode
from relayer.chain import deployments
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.wallet import Wallet
from relayer.delivery.fees import FeeRules
from relayer.local import client
from relayer.local.state import WorldState

pytestmark = [pytest.mark.loopback]


@dataclass
class Place:
    """A local world with the contracts on it."""

    folder: Path
    world: WorldState

    def aml(self, *arguments: str, code: int = 0) -> str:
        """Run a command as `main` does, in this process: each process of its own costs seconds."""
        ran = CliRunner().invoke(app, [*arguments, "--state", str(self.folder)])
        fault = ran.exception
        if fault is not None and not isinstance(fault, SystemExit):
            assert is_known(fault), fault
            assert code == 1
            return str(fault)
        assert ran.exit_code == code, ran.output
        return ran.output

    def json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.aml(*arguments, "--json", code=code))
        return found

    def batch(self, file: str) -> Batch:
        """Read a file as the Safe does."""
        path = self.folder / "chains" / self.world.instance / "deployment.json"
        names = {a: n for n, a in Owned(deployments.read(path)).addresses.items()}
        return decode(Path(file).read_text(), names, self.world.chain_id)

    def execute(self, file: str) -> None:
        """Make a batch's calls as the owner on the embedded chain."""

        async def make() -> None:
            endpoint = await ChainEndpoint.open(self.world.rpc_url, chain_id=self.world.chain_id)
            try:
                wallet = Wallet(endpoint, local_role("owner"), FeeRules())
                for call in self.batch(file).calls:
                    await wallet.post(call.address, call.payload)
            finally:
                await endpoint.close()

        asyncio.run(make())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("owner")
    made = Place(folder=folder, world=client.start(folder))
    try:
        made.aml("deploy")
        yield made
    finally:
        client.stop(folder)


def test_halt__scope__holds_until_the_owner_resumes(place: Place) -> None:
    said = place.aml("halt", "new-risk", "--for", "30m")
    assert "in force, read back at block" in said
    assert "sooner: aml resume new-risk" in said
    again = place.json("halt", "new-risk", code=1)
    assert "PAUSE_ALREADY_RUNNING" in again["refused"]
    (batch,) = place.json("resume")["batches"]
    assert batch["name"] == "at-once"
    assert [each["call"] for each in batch["calls"]] == ["RiskOracle.resume(1)"]
    assert batch["refused"] == {}
    place.execute(batch["file"])
    assert "nothing to do" in place.aml("resume")


def test_halt__market__then_only_its_new_positions(place: Place) -> None:
    assert "until" in place.json("halt", "btc", "--for", "10m")["lasts"]
    assert place.json("halt", "BTC", "--reduce-only")["holds"]
    (batch,) = place.json("resume", "BTC")["batches"]
    assert {each["call"].split("(")[0] for each in batch["calls"]} == {
        "RiskOracle.resume_market",
        "RiskOracle.lift_tightening",
    }
    place.execute(batch["file"])
    assert "nothing to do" in place.aml("resume", "BTC")


def test_freeze__market_and_kind__until_the_owner_ends_it(place: Place) -> None:
    assert "aml resume ETH" in place.json("freeze", "ETH")["lasts"]
    assert "aml resume adjust" in place.json("freeze", "adjust")["lasts"]
    for what in ("ETH", "adjust"):
        (batch,) = place.json("resume", what)["batches"]
        place.execute(batch["file"])
    assert "nothing to do" in place.aml("resume")


def test_revert__nothing_was_changed__is_refused_and_nothing_sent(place: Place) -> None:
    assert "REFUSED, nothing sent" in place.aml("revert", "BTC", code=1)
    assert "NOT_REVERTIBLE" in place.json("revert", "BTC", code=1)["refused"]


def test_halt__dry_run__sends_nothing(place: Place) -> None:
    found = place.json("halt", "withdrawals", "--dry-run")
    assert found["transaction"] is None
    assert found["refused"] is None
    assert found["data"].startswith("0x")
    assert "nothing to do" in place.aml("resume")


def test_halt__another_key__is_refused_by_name(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("11" * 32)
    file.chmod(0o600)
    said = place.aml("halt", "new-risk", "--key", str(file), code=1)
    assert "the guardian is 0x" in said
    assert "nothing sent" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("halt", "newrisk"), "did you mean"),
        (("halt", "new-risk", "--for", "soon"), "write a number and a unit"),
        (("halt", "new-risk", "--for", "2d"), "aml owner pause"),
        (("halt", "ai-input", "--for", "60s"), "at least"),
        (("halt", "new-risk", "--reduce-only"), "is of a market"),
        (("freeze", "DOGGE"), "is none of them"),
        (("market", "add", "BTC"), "a new market is the table after theirs"),
        (("owner", "cancel", "0x12"), "64 hexadecimal digits"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_commands__wrong_word__say_what_to_give(
    place: Place, arguments: tuple[str, ...], says: str
) -> None:
    assert says in place.aml(*arguments, code=1)


def test_owner__timelocked__two_files_and_when(place: Place) -> None:
    stranger = "0x" + "5e" * 20
    said = place.aml("owner", "signers", "risk", "--add", stranger, "--threshold", "3")
    assert "1-announce" in said
    assert "1 d after 1-announce is executed, for 14 d" in said
    found = place.json("owner", "signers", "risk", "--add", stranger)
    announce, execute = found["batches"]
    assert announce["refused"] == {}
    place.execute(announce["file"])
    (left,) = place.json("owner", "signers", "risk", "--add", stranger)["batches"]
    assert left["name"] == "2-execute"
    assert left["not_before_s"] > 0
    assert not Path(announce["file"]).exists()
    operation = "0x" + place.batch(execute["file"]).calls[0].operation.hex()
    shown = place.aml("owner", "show", execute["file"])
    assert operation in shown
    (cancel,) = place.json("owner", "cancel", operation)["batches"]
    place.execute(cancel["file"])
    assert len(place.json("owner", "signers", "risk", "--add", stranger)["batches"]) == 2


def test_owner__file_is_as_deployed__nothing_to_do(place: Place) -> None:
    assert "nothing to do" in place.aml("owner", "policy")
    assert "nothing to do" in place.aml("owner", "accept")


def test_market__reduce_only_and_settle__say_what_applies(place: Place) -> None:
    (batch,) = place.json("market", "reduce-only", "ETH", "--for", "14d")["batches"]
    assert batch["when"] == "at once"
    assert batch["refused"] == {}
    names = [each["name"] for each in place.json("market", "settle", "ETH")["batches"]]
    assert names == ["1-announce", "2-execute"]
