"""A chain of one's own, exchanges, key files and a Safe: what a reader has before him."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import eth_abi.abi
import vyper
from eth_utils.crypto import keccak
from typer.testing import CliRunner

from agent.cli.main import app
from relayer.local.state import WorldState
from relayer.signing.keys import address
from tests.agent.test_live import CHAIN_ID, write_key
from tests.operations.drills.house import AML, Process
from tests.operations.drills.server import free_port, until
from tests.relayer.anvil import Anvil

ROOT = Path(__file__).parents[3]
TOKEN = ROOT / "tests" / "contracts" / "tokens" / "TestUSDC.vy"
SAFE = "0x5aFE000000000000000000000000000000000001"
ANYBODY = "0x00000000000000000000000000000000000A11cE"
ETHER = 10**18
SIGNERS = (1, 2, 3, 4)
DEADLINE_S = 900.0


@dataclass
class Ground:
    """Hosts are folders; the chain's clock goes ahead only before anything of ours runs."""

    folder: Path
    node: Anvil
    world: WorldState
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)
    token: str = ""

    def prepare(self) -> None:
        """Make keys, each on its host, and the token that a chain of one's own lacks."""
        self.node.call("anvil_setBalance", SAFE, hex(ETHER))
        self.ports = {f"signer-{n}": free_port() for n in SIGNERS}
        self.ports |= {"metrics": free_port(), "http": free_port()}
        roles = [f"{kind}-{n}" for kind in ("price", "risk", "transport") for n in SIGNERS]
        for role in (*roles, "gas-payer", "relay", "deployer", "guardian"):
            write_key(self.folder, role)
        for role in ("gas-payer", "deployer", "guardian"):
            self.node.call("anvil_setBalance", self.address(role), hex(100 * ETHER))
        self.token = self.put(TOKEN.read_text())

    def key(self, role: str) -> Path:
        return self.folder / f"{role}.key"

    def address(self, role: str) -> str:
        return address(self.key(role))

    def put(self, source: str, *arguments: tuple[str, Any]) -> str:
        """Compile a contract and put it on the chain."""
        code = vyper.compile_code(source, output_formats=["bytecode"])["bytecode"]
        given = eth_abi.abi.encode([kind for kind, _ in arguments], [each for _, each in arguments])
        return str(self.send(ANYBODY, None, bytes.fromhex(code[2:]) + given)["contractAddress"])

    def send(self, sender: str, to: str | None, data: bytes) -> dict[str, Any]:
        """Send as anybody: the node signs for whom it impersonates."""
        self.node.call("anvil_impersonateAccount", sender)
        if int(self.node.call("eth_getBalance", sender, "latest"), 16) < ETHER:
            self.node.call("anvil_setBalance", sender, hex(ETHER))
        told = {"from": sender, "data": "0x" + data.hex(), "gas": hex(30_000_000)}
        told |= {"to": to} if to else {}
        sent = self.node.call("eth_sendTransaction", told)
        found: list[dict[str, Any]] = []

        def mined() -> bool:
            receipt = self.node.call("eth_getTransactionReceipt", sent)
            found.extend([receipt] if receipt else [])
            return bool(found)

        until(mined, "a receipt")
        return found[0]

    def call(self, to: str, signature: str, *values: Any, gives: str = "uint256") -> Any:
        """Read a contract as a developer does who has only its signature."""
        data = "0x" + encoded(signature, values).hex()
        found = self.node.call("eth_call", {"to": to, "data": data}, "latest")
        return eth_abi.abi.decode([gives], bytes.fromhex(found[2:]))[0]

    @property
    def now_s(self) -> int:
        return int(self.node.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def pass_s(self, seconds: int) -> None:
        self.node.call("evm_increaseTime", seconds)
        self.node.call("evm_mine")

    def catch_up(self) -> None:
        """Bring the chain to the wall's time."""
        self.pass_s(int(time.time()) - self.now_s)

    def aml(self, *arguments: str, network: str = "mine", state: str = "daemon") -> str:
        """Type a command that must succeed; give what it prints."""
        ran = CliRunner().invoke(app, [*arguments, *self.where(network, state)])
        assert ran.exit_code == 0, (arguments, ran.output, ran.exception)
        return ran.stdout

    def where(self, network: str, state: str) -> tuple[str, ...]:
        config = self.folder / f"{network}.toml"
        return "--network", str(config), "--state", str(self.folder / state)

    def batch(self, *arguments: str, state: str = "daemon") -> list[dict[str, Any]]:
        """Have an act of the owner written, and read which files there are."""
        found = json.loads(self.aml(*arguments, "--json", state=state))
        batches: list[dict[str, Any]] = found["batches"]
        return batches

    def sign(self, batch: dict[str, Any]) -> bool:
        """Do as the Safe does: encode by the file's own words, all calls or none."""
        body = json.loads(Path(batch["file"]).read_text())
        assert body["meta"]["createdFromSafeAddress"].lower() == SAFE.lower()
        mark = self.node.call("evm_snapshot")
        for each in body["transactions"]:
            method, given = each["contractMethod"], each["contractInputsValues"]
            kinds = [one["type"] for one in method["inputs"]]
            values = [meant(one["type"], given[one["name"]]) for one in method["inputs"]]
            data = encoded(f"{method['name']}({','.join(kinds)})", values)
            if self.send(SAFE, each["to"], data)["status"] != "0x1":
                self.node.call("evm_revert", mark)
                return False
        return True

    def start(self, name: str, *arguments: str, network: str = "mine", ready: str) -> Process:
        """Start a process of ours on a host of its own, as its unit does."""
        state = self.folder / name.removesuffix("-again")
        if name != "daemon":
            state.mkdir(exist_ok=True)
            contracts = (self.folder / "daemon" / "deployment.json").read_text()
            (state / "deployment.json").write_text(contracts)
        command = (*AML, *arguments, *self.where(network, state.name))
        log = self.folder / f"{name}.log"
        self.processes[name] = Process(name=name, command=command, ready=ready, log=log)
        return self.processes[name].start()

    def signer(self, number: int) -> None:
        more = ("--index", str(number), "--metrics-port", "0")
        self.start(f"signer-{number}", "signer", *more, network=f"signer-{number}", ready="metrics")

    def daemon(self) -> None:
        self.start("daemon", "run", ready="event='turn_ended' kind='price' result='effective'")

    def ended(self) -> None:
        for process in self.processes.values():
            process.kill()

    def wait_for_rounds(self, feed: str, more: int = 2) -> None:
        """Wait until so many more price rounds stand on the chain."""
        wanted = self.call(feed, "latest_round()") + more
        until(lambda: self.call(feed, "latest_round()") >= wanted, "price rounds", DEADLINE_S)


def meant(kind: str, written: str) -> Any:
    """Read a value as a Safe's interface does."""
    if kind.startswith(("uint", "int")):
        return int(written)
    if kind == "bool":
        return written == "true"
    return bytes.fromhex(written[2:]) if kind.startswith("bytes") else written


def encoded(signature: str, values: Any) -> bytes:
    """Encode a call by its signature."""
    kinds = split(signature[signature.index("(") + 1 : -1])
    return bytes(keccak(signature.encode())[:4]) + eth_abi.abi.encode(kinds, values)


def split(kinds: str) -> list[str]:
    """Split at the commas that stand in no bracket."""
    found, depth = [""], 0
    for letter in kinds:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            found.append("")
        else:
            found[-1] += letter
    return [kind for kind in found if kind]


def configuration(ground: Ground, peers: int, *, deployer: bool = False) -> str:
    """Write what the documents say to write, for a daemon with so many signers as processes."""
    lines = [
        *('extends = "megaeth-testnet"', "[network]", f'rpc_url = "{ground.node.url}"'),
        f"chain_id = {CHAIN_ID}",
        *("[metrics]", f"port = {ground.ports['metrics']}"),
        *("[http]", f"port = {ground.ports['http']}"),
        *("[cycle]", "every_s = 10"),
        *("[keys]", f'gas_payer = "{ground.key("gas-payer")}"'),
        *([f'deployer = "{ground.key("deployer")}"'] if deployer else []),
        *("[deployment]", f'owner = "{SAFE}"', f'guardian = "{ground.address("guardian")}"'),
        *(f'token = "{ground.token}"', "pool_cooldown_s = 3_600"),
        *("[signers]", f'relays = ["{ground.address("relay")}"]'),
        *(f'relay_key = "{ground.key("relay")}"', "timeout_s = 20.0"),
    ]
    for number in SIGNERS[:peers]:
        url = f"http://127.0.0.1:{ground.ports[f'signer-{number}']}"
        lines += ["[[signers.peers]]", f'url = "{url}"']
        lines += [
            f'{kind} = "{ground.address(f"{kind}-{number}")}"'
            for kind in ("transport", "price", "risk")
        ]
    for venue in ground.world.venues:
        lines += ["[[venues]]", f'id = "{venue.id}"', 'ccxt_class = "okx"']
        lines += ['quote_currency = "USDC"', "rate_limit_ms = 1"]
        lines += [f'urls = {{ rest = "{venue.url}" }}']
    for market in ground.world.markets:
        lines += ["[[markets]]", f'symbol = "{market.base}"', "class_id = 1"]
        for venue in ground.world.venues:
            lines += [f"[markets.listings.{venue.id}]", f'symbol = "{market.symbol}"']
            lines += ['quote_currency = "USDC"']
    return "\n".join(lines) + "\n"


def own(ground: Ground, number: int) -> str:
    """Write what a signer's own file says beside the table that all share."""
    text = configuration(ground, max(3, number))
    text = text[: text.index("[keys]")] + text[text.index("[deployment]") :]
    text = text[: text.index("[http]")] + text[text.index("[cycle]") :]
    keys = [
        f'{kind}_key = "{ground.key(f"{kind}-{number}")}"'
        for kind in ("price", "risk", "transport")
    ]
    return text + "\n".join(["[signers.own]", *keys, ""])
