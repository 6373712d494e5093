"""The self-test as an operator meets it: a thing breaks for real, is named, and the mend mends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from eth_account import Account

from agent.checks.examine import examine
from agent.checks.findings import Finding, Grade
from agent.cli.setup import require_world
from agent.deploying import deploy_network
from agent.local_tables import tables_of
from agent.network import local_role
from models.artifact import default_artifact
from relayer import migrations
from relayer.chain.endpoints import ChainEndpoint
from relayer.local import client
from relayer.local.accounts import local_key
from relayer.local.state import WorldState
from tests.agent.instances import AML
from tests.relayer import postgres

pytestmark = [pytest.mark.loopback, pytest.mark.long]

KEYS = (
    *(f"{kind}-signer-{n}" for kind in ("price", "risk") for n in (1, 2, 3)),
    *("gas-payer", "guardian"),
)
ETHER = 10**18


@dataclass(kw_only=True)
class House:
    """An operator's host: a file, keys, contracts, a database, a model, and a chain elsewhere."""

    folder: Path
    world: WorldState
    cluster: postgres.Postgres
    database: str

    @property
    def deployment_file(self) -> Path:
        return self.folder / "state" / "deployment.json"

    def key(self, role: str) -> Path:
        return self.folder / "keys" / role

    def text(self, rpc_url: str = "", gas_payer: str = "") -> str:
        signers = {
            kind: [str(self.key(f"{kind}-signer-{n}")) for n in (1, 2, 3)]
            for kind in ("price", "risk")
        }
        return f"""
extends = "local"
[network]
name = "mine"
chain_id = {self.world.chain_id}
rpc_url = "{rpc_url or self.world.rpc_url}"
[deployment]
owner = "{local_role("owner").address}"
guardian = "{local_role("guardian").address}"
[keys]
gas_payer = "{gas_payer or self.key("gas-payer")}"
price_signers = {json.dumps(signers["price"])}
risk_signers = {json.dumps(signers["risk"])}
guardian = "{self.key("guardian")}"
[storage]
url = "{self.database}"
[model]
folder = "{self.folder / "model" / default_artifact().name}"
[warnings]
channels_file = "{self.folder / "channels"}"
{tables_of(self.world)}"""

    def write(self, text: str) -> Path:
        file = self.folder / "mine.toml"
        file.write_text(text)
        return file

    def look(self) -> list[Finding]:
        """Give what is not well; the embedded chain's clock goes a second on with each block."""
        file = str(self.folder / "mine.toml")
        found = asyncio.run(examine(file, self.folder / "state", venues=False))
        return [each for each in found if each.grade is not Grade.WELL and each.part != "clock"]

    def fault(self, part: str, says: str) -> Finding:
        """Require that the fault is named in its part, and that no other part is at fault."""
        found = [each for each in self.look() if each.grade is Grade.FAULT]
        assert {each.part for each in found} == {part}, found
        (named,) = (each for each in found if says in each.says)
        return named


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with ExitStack() as stack:
        cluster = stack.enter_context(postgres.running(tcp=True))
        name = cluster.fresh().split("/")[3].split("?")[0]
        database = f"postgresql://{postgres.ROLE}@127.0.0.1:{cluster.tcp_port}/{name}"
        stack.callback(client.stop, folder / "world")
        world = client.start(folder / "world", start_at="now")
        prepared = require_world("local", folder / "world")
        asyncio.run(deploy_network(prepared.network, prepared.settings, lambda _: None))
        made = House(folder=folder, world=world, cluster=cluster, database=database)
        for each in ("keys", "state", "model"):
            (folder / each).mkdir()
        shutil.copy(prepared.network.deployment_file, made.deployment_file)
        for role in KEYS:
            made.key(role).touch(0o600)
            made.key(role).write_text(local_key(role).hex())
        (folder / "channels").touch(0o600)
        shutil.copytree(default_artifact(), folder / "model" / default_artifact().name)
        made.write(made.text())
        migrate(made)
        yield made


def migrate(house: House) -> None:
    migrations.upgrade(house.database.replace("postgresql:", "postgresql+pg8000:"))


@pytest.fixture(autouse=True)
def well_before_and_after(house: House) -> Iterator[None]:
    assert house.look() == []
    yield
    assert house.look() == []


def ran(command: str) -> None:
    """Run the command that mends, as an operator types it."""
    subprocess.run(command.split(), check=True, timeout=60)


@contextmanager
def replaced(file: Path, text: str) -> Iterator[None]:
    before = file.read_text()
    file.write_text(text)
    try:
        yield
    finally:
        file.write_text(before)


def test_endpoint_dead__is_named_with_the_setting_to_correct(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        dead = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with replaced(house.folder / "mine.toml", house.text(rpc_url=dead)):
        found = [each for each in house.look() if each.grade is Grade.FAULT]
    (named,) = found
    assert named.part == "endpoint"
    assert "[network] rpc_url" in named.mend


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize(
    ("part", "file"), [("keys", "keys/price-signer-2"), ("channels", "channels")]
)
def test_secret_open_to_others__the_command_closes_it(house: House, part: str, file: str) -> None:
    secret = house.folder / file
    secret.chmod(0o644)
    found = [each for each in house.look() if each.grade is Grade.FAULT and each.part == part]
    (named,) = found
    assert named.mend == f"chmod 600 {secret}"
    ran(named.mend)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_deployment_file_of_other_contracts__is_named_by_its_path(house: House) -> None:
    fields = json.loads(house.deployment_file.read_text())
    margin = fields["margin"]
    margin["desk"], margin["liquidator"] = margin["liquidator"], margin["desk"]
    with replaced(house.deployment_file, json.dumps(fields)):
        named = house.fault("contracts", "OrderDesk at")
    assert f"correct {house.deployment_file}" in named.mend


def test_deployment_file_gone__is_named_with_what_brings_it_back(house: House) -> None:
    kept = house.deployment_file.rename(house.folder / "kept.json")
    named = house.fault("contracts", "deployment.json")
    kept.rename(house.deployment_file)
    assert named.mend.startswith(f"aml deploy --network {house.folder / 'mine.toml'}")
    assert "bring the deployment file here" in named.mend


def test_model_file_damaged__is_named_and_another_copy_mends_it(house: House) -> None:
    folder = house.folder / "model" / default_artifact().name
    model = next(folder.glob("*.skops"))
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    named = house.fault("model", "is not the file that its manifest lists")
    assert "bring the artifact here anew" in named.mend
    shutil.copy(default_artifact() / model.name, model)


def test_database_stopped__is_named_and_starting_it_mends_it(house: House) -> None:
    house.cluster.stop()
    try:
        named = house.fault("database", "cannot be reached")
    finally:
        house.cluster.start()
    assert "systemctl restart postgresql" in named.mend


def test_gas_payer_empty__names_the_account_that_gas_is_sent_to(house: House) -> None:
    purse = house.folder / "keys" / "new-payer.json"
    shown = subprocess.run(
        [*AML, "keys", "new", str(purse)], capture_output=True, text=True, check=True
    )
    told = house.text(gas_payer=str(purse))
    words = f'[keys]\npassword_file = "{purse.with_suffix(".password")}"\n'
    with replaced(house.folder / "mine.toml", told.replace("[keys]\n", words)):
        named = house.fault("gas", "has 0")
        (account,) = re.findall("send gas to (0x[0-9a-fA-F]{40})", named.mend)
        assert account == shown.stdout.strip()
        asyncio.run(sent(house, account))
        assert house.look() == []


async def sent(house: House, account: str) -> None:
    """Send the chain's coin, as any wallet does."""
    endpoint = await ChainEndpoint.open(house.world.rpc_url, chain_id=house.world.chain_id)
    try:
        standing = await endpoint.account(local_role("owner").address)
        fee_wei = 2 * standing.base_fee_wei + 1
        transfer = {
            "chainId": house.world.chain_id,
            "nonce": standing.pending_nonce,
            "to": account,
            "value": ETHER,
            "gas": 21_000,
            "maxFeePerGas": fee_wei,
            "maxPriorityFeePerGas": 1,
        }
        signed = Account.sign_transaction(transfer, local_key("owner"))
        await endpoint.send(bytes(signed.raw_transaction))
    finally:
        await endpoint.close()


def test_price_signer_gone__is_named_with_how_to_make_or_find_it(house: House) -> None:
    kept = house.key("price-signer-3").rename(house.folder / "kept")
    found = [each for each in house.look() if each.grade is Grade.FAULT]
    kept.rename(house.key("price-signer-3"))
    (named,) = found
    assert named.part == "keys"
    assert named.mend.startswith(f"aml keys new {house.key('price-signer-3')}")
