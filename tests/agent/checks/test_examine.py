"""The self-test on the embedded chain: all well, then each thing broken, with what mends it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.checks.examine import examine
from agent.checks.findings import Finding, Grade, is_well
from agent.cli.setup import require_world
from agent.deploying import deploy_network
from agent.network import local_role
from agent.owner.acts import Owned
from contracts.calls import NamedCall
from relayer.chain import deployments
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.wallet import Wallet
from relayer.delivery.fees import FeeRules
from relayer.local import client
from relayer.local.state import WorldState

pytestmark = [pytest.mark.loopback]
STRANGER = "0x" + "5e" * 20


@dataclass
class Place:
    """A local world with the contracts on it, and files that differ from its own."""

    folder: Path
    world: WorldState

    @property
    def deployment_file(self) -> Path:
        return self.folder / "chains" / self.world.instance / "deployment.json"

    def network(self, text: str) -> str:
        file = self.folder / "mine.toml"
        file.write_text('extends = "local"\n' + text)
        return str(file)

    def look(self, network: str = "local", *, venues: bool = False) -> tuple[Finding, ...]:
        return asyncio.run(examine(network, self.folder, venues=venues))

    def graver(self, network: str = "local") -> list[Finding]:
        return [each for each in self.look(network) if each.grade is not Grade.WELL]

    def send(self, role: str, call: NamedCall) -> None:
        async def post() -> None:
            endpoint = await ChainEndpoint.open(self.world.rpc_url, chain_id=self.world.chain_id)
            try:
                await Wallet(endpoint, local_role(role), FeeRules()).post(
                    call.address, call.payload
                )
            finally:
                await endpoint.close()

        asyncio.run(post())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("check")
    made = Place(folder=folder, world=client.start(folder))
    try:
        prepared = require_world("local", folder)
        asyncio.run(deploy_network(prepared.network, prepared.settings, lambda _: None))
        yield made
    finally:
        client.stop(folder)


def test_examine__as_deployed__all_is_well(place: Place) -> None:
    findings = place.look(venues=True)
    assert is_well(findings), [f for f in findings if f.grade is not Grade.WELL]
    assert {each.part for each in findings} == {
        *("config", "keys", "model", "disk", "database", "endpoint", "clock"),
        *("contracts", "roles", "limits", "signers", "gas", "venues"),
    }


@pytest.mark.parametrize(
    ("text", "part", "says", "mend"),
    [
        ("[prices]\nheartbeat = 1\n", "config", "unknown key", "aml config check"),
        ('[model]\nfolder = "/none"\n', "model", "", "aml models list"),
        (
            '[storage]\nurl = "postgresql://aml@127.0.0.1:1/aml"\n',
            "database",
            "cannot be reached",
            "postgresql",
        ),
        ("[rules.policy]\nfee_ratio = 0.0006\n", "roles", "[rules] of the file", "owner policy"),
        (
            "[deployment.classes.1.bounds]\nnotice_s = 7_200\n",
            "limits",
            "RiskOracle: the file says",
            "aml owner bounds",
        ),
        (
            "[deployment]\nprice_threshold = 3\n",
            "signers",
            "asks 2 signatures, the file 3",
            "aml owner signers price --threshold 3",
        ),
        (
            f'[[signers.peers]]\nurl = "http://127.0.0.1:9301"\nprice = "{STRANGER}"\n' * 2,
            "signers",
            "is no price signer",
            "aml owner signers price --add",
        ),
    ],
    ids=["key", "model", "database", "policy", "bounds", "threshold", "signer"],
)
def test_examine__one_thing_broken__is_named_with_what_mends_it(
    place: Place, text: str, part: str, says: str, mend: str
) -> None:
    found = [f for f in place.graver(place.network(text)) if f.grade is Grade.FAULT]
    assert any(f.part == part and says in f.says and mend in f.mend for f in found), found
    assert is_well(place.look())


def test_examine__contract_of_another_kind_at_its_place__is_a_fault(place: Place) -> None:
    before = place.deployment_file.read_text()
    fields = json.loads(before)
    margin = fields["margin"]
    margin["desk"], margin["liquidator"] = margin["liquidator"], margin["desk"]
    place.deployment_file.write_text(json.dumps(fields))
    try:
        found = place.graver()
    finally:
        place.deployment_file.write_text(before)
    assert [f.says.split()[0] for f in found] == ["OrderDesk", "Liquidator"]


def test_examine__no_deployment__says_to_deploy(place: Place) -> None:
    before = place.deployment_file.read_text()
    place.deployment_file.unlink()
    try:
        (found,) = place.graver()
        looked = place.look()
    finally:
        place.deployment_file.write_text(before)
    assert found.mend.startswith("aml deploy --network local")
    (endpoint,) = (each for each in looked if each.part == "endpoint")
    assert "chain " in endpoint.says  # it is looked at all the same


def test_examine__market_frozen__is_a_warning_until_it_is_resumed(place: Place) -> None:
    owned = Owned(deployments.read(place.deployment_file))
    place.send("guardian", owned.call("RiskOracle", "freeze_market", 0))
    (found,) = place.graver()
    assert found.grade is Grade.WARNING
    assert found.mend.startswith("aml resume")
    place.send("owner", owned.call("RiskOracle", "unfreeze_market", 0))
    assert place.graver() == []


def test_examine__no_local_world__says_how_to_start_one(tmp_path: Path) -> None:
    findings = asyncio.run(examine("local", tmp_path, venues=False))
    assert any(f"aml local up --state {tmp_path}" in each.mend for each in findings)
