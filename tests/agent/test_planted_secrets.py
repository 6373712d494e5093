"""Secrets of every kind are planted, processes fail with them, and nothing may have any of it."""

from __future__ import annotations

import base64
import http.server
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from eth_account import Account

from relayer.local import client
from relayer.signing.keys import address
from tests.agent import test_live as live
from tests.agent.instances import AML, Instance, wait_until
from tests.relayer.anvil import running

pytestmark = [pytest.mark.anvil, pytest.mark.loopback, pytest.mark.long]
PASSWORD = "planted-password-" + secrets.token_hex(8)
DATABASE = "planted-database-" + secrets.token_hex(8)
TOKEN = "planted-token-" + secrets.token_hex(8)
RAW = {role: secrets.token_hex(32) for role in (*live.ROLES, "relay", "transport-1")}
SIGNING = tuple(role for role in RAW if role.startswith(("price", "risk", "transport")))


def forms(secret: str) -> list[bytes]:
    """Every way in which a secret could be written down."""
    texts = [secret, secret.upper(), repr(secret.encode())[2:-1], quote(secret, safe="")]
    found = [text.encode() for text in texts] + [base64.b64encode(secret.encode())]
    if secret in RAW.values():
        key = bytes.fromhex(secret)
        found += [
            key,
            str(int(secret, 16)).encode(),
            base64.b64encode(key),
            repr(key)[2:-1].encode(),
        ]
    return found


def found_in(content: bytes) -> list[str]:
    """Name the secrets that stand in some bytes."""
    named = {"password": PASSWORD, "database": DATABASE, "token": TOKEN, **RAW}
    return [name for name, secret in named.items() if any(f in content for f in forms(secret))]


@dataclass(frozen=True)
class Planted:
    """A configuration whose secrets are all planted, and the folders of its processes."""

    folder: Path
    config: Path
    state: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "CREDENTIALS_DIRECTORY": str(self.folder / "lent")}

    def command(self, *arguments: str, config: Path | None = None) -> list[str]:
        named = ["--network", str(config or self.config), "--state", str(self.state)]
        return [*AML, *arguments, *named]

    def fails(self, *arguments: str, config: Path | None = None) -> str:
        """Run a command that must fail, and give all that it said, where no secret is."""
        done = subprocess.run(
            self.command(*arguments, config=config),
            capture_output=True,
            timeout=400,
            check=False,
            env=self.environment,
            cwd=self.folder,
        )
        said = done.stdout + done.stderr
        assert done.returncode != 0, said
        assert found_in(said) == []
        self.left_nothing()
        return said.decode()

    def other(self, name: str, *changes: tuple[str, str]) -> Path:
        """Write the configuration with changes."""
        text = self.config.read_text()
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        path = self.folder / f"{name}.toml"
        path.write_text(text)
        return path

    def left_nothing(self) -> None:
        """Look into every file of the processes, core files included."""
        for path in (each for each in self.state.rglob("*") if each.is_file()):
            assert found_in(path.read_bytes()) == [], path
        assert [path for path in self.folder.rglob("core*") if path.is_file()] == []


def lent(folder: Path, name: str, content: str) -> None:
    path = folder / "lent" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    path.chmod(0o600)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    folder = tmp_path_factory.mktemp("secrets")
    with running(chain_id=live.CHAIN_ID, timestamp_s=int(time.time())) as node:
        world = live.wall_clock_world(folder)
        try:
            for role, secret in RAW.items():
                lent(folder, role, secret + "\n")
                account = address(folder / "lent" / role)
                node.call("anvil_setBalance", account, hex(10**20))
            sealed = Account.encrypt(bytes.fromhex(RAW["gas"]), PASSWORD, "scrypt", 2)
            lent(folder, "payer", json.dumps(sealed))
            lent(folder, "password", PASSWORD + "\n")
            lent(folder, "database", DATABASE + "\n")
            named = {role: Path(f"credential:{role}") for role in live.ROLES}
            named["gas"] = Path("credential:payer")
            text = live.configuration(node, world, named)
            text = text.replace("[keys]\n", '[keys]\npassword_file = "credential:password"\n')
            config = folder / "mine.toml"
            config.write_text(text)
            made = Planted(folder=folder, config=config, state=folder / "state")
            deployed = subprocess.run(
                made.command("deploy"), env=made.environment, capture_output=True, check=False
            )
            assert deployed.returncode == 0, deployed.stderr
            assert found_in(deployed.stdout + deployed.stderr) == []
            yield made
        finally:
            client.stop(folder / "world")


def started(planted: Planted, log: str, *arguments: str, config: Path | None = None) -> Instance:
    """Start a process as its unit does."""
    daemon = Instance(planted.command(*arguments, config=config), planted.folder / log)
    daemon.process = subprocess.Popen(
        daemon.command,
        stdout=daemon.log.open("ab"),
        stderr=subprocess.STDOUT,
        env=planted.environment,
        cwd=planted.folder,
    )
    return daemon


def look_everywhere(planted: Planted, process: Instance) -> None:
    """Look at what others on the machine, and whoever scrapes it, can see of a process."""
    assert process.process is not None
    proc = Path(f"/proc/{process.process.pid}")
    for name in ("cmdline", "environ", "status"):
        assert found_in((proc / name).read_bytes()) == [], name
    (core,) = [x for x in (proc / "limits").read_text().splitlines() if x.startswith("Max core")]
    assert core.split()[4:6] == ["0", "0"]
    assert found_in(process.page(r".*metrics at").encode()) == []
    process.end(signal.SIGABRT)
    assert found_in(process.log.read_bytes()) == []
    planted.left_nothing()


def test_forms__each_secret_that_is_there__is_found() -> None:
    for name, secret in (("password", PASSWORD), ("token", TOKEN), ("gas", RAW["gas"])):
        for form in forms(secret):
            assert found_in(b"before " + form + b" behind") == [name]


def test_daemon__running_and_aborted__leaks_nothing(planted: Planted) -> None:
    daemon = started(planted, "daemon.log", "run")
    wait_until(lambda: daemon.effective >= 2, daemon)
    status = subprocess.run(
        planted.command("status"), capture_output=True, env=planted.environment, check=False
    )
    assert found_in(status.stdout + status.stderr) == []
    look_everywhere(planted, daemon)


def test_signer__running_and_aborted__leaks_nothing(planted: Planted) -> None:
    def of(role: str) -> str:
        return address(planted.folder / "lent" / role)

    peer = (
        f'[[signers.peers]]\nurl = "http://127.0.0.1:9"\ntransport = "{of("transport-1")}"\n'
        f'price = "{of("price-1")}"\nrisk = "{of("risk-1")}"\n'
    )
    own = "".join(
        f'{kind}_key = "credential:{kind}-1"\n' for kind in ("price", "risk", "transport")
    )
    table = f'[signers]\nrelays = ["{of("relay")}"]\n{peer * 2}[signers.own]\n{own}\n[keys]\n'
    config = planted.other("signer", ("[keys]\n", table))
    text = config.read_text()
    keys = text[text.index("price_signers") : text.index("risk_signers")]
    config.write_text(text.replace(keys, ""))
    process = started(
        planted, "signer.log", "signer", "--index", "1", "--listen", "127.0.0.1:0", config=config
    )
    wait_until(lambda: "metrics at" in process.said, process)
    look_everywhere(planted, process)


def test_run__wrong_password__says_the_file_and_not_what_is_in_it(planted: Planted) -> None:
    lent(planted.folder, "wrong", PASSWORD[:-1] + "\n")
    config = planted.other("wrong", ("credential:password", "credential:wrong"))
    assert "does not open it" in planted.fails("run", "--cycles", "1", config=config)


@pytest.mark.parametrize("rest", ["0", "\nzz", " " + RAW["risk-2"]])
def test_run__damaged_key_file__says_the_file_and_not_what_is_in_it(
    planted: Planted, rest: str
) -> None:
    lent(planted.folder, "damaged", RAW["price-1"] + rest)
    config = planted.other("damaged", ("credential:price-1", "credential:damaged"))
    said = planted.fails("run", "--cycles", "1", config=config)
    assert "damaged" in said


def stored(planted: Planted, url: str, name: str) -> Path:
    table = f'[storage]\nurl = "{url}"\npassword_file = "credential:database"\n[keys]\n'
    return planted.other(name, ("[keys]\n", table))


def test_run__database_refuses_the_connection__says_no_password(planted: Planted) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = stored(planted, f"postgresql://aml@127.0.0.1:{port}/aml", "refused")
    assert "Traceback" not in planted.fails("run", "--cycles", "1", config=config)


def test_run__database_does_not_take_the_password__says_no_password(planted: Planted) -> None:
    with asks_for_a_password() as (port, heard):
        config = stored(planted, f"postgresql://aml@127.0.0.1:{port}/aml", "denied")
        planted.fails("run", "--cycles", "1", config=config)
    assert DATABASE.encode() in b"".join(heard), "it was never sent, so nothing was tried"


@pytest.mark.parametrize("command", [("run", "--cycles", "1"), ("status",), ("config", "check")])
def test_commands__password_in_the_database_s_address__is_refused_and_not_said(
    planted: Planted, command: tuple[str, ...]
) -> None:
    url = f"postgresql://aml:{DATABASE}@127.0.0.1:9/aml"
    config = planted.other("inside", ("[keys]\n", f'[storage]\nurl = "{url}"\n[keys]\n'))
    planted.fails(*command, config=config)


def test_run__endpoint_turns_its_key_away__the_key_is_not_said(planted: Planted) -> None:
    """An endpoint's address often ends with a key of its user's account."""
    with turns_away() as (url, heard):
        text = planted.config.read_text()
        (old,) = [line for line in text.splitlines() if line.startswith("rpc_url")]
        config = planted.other("turned-away", (old, f'rpc_url = "{url}/v2/{TOKEN}"'))
        planted.fails("run", "--cycles", "1", config=config)
        planted.fails("check", config=config)
    assert any(TOKEN in path for path in heard)


def test_channels__refused_and_turned_away__the_token_is_not_said(tmp_path: Path) -> None:
    with turns_away() as (url, heard):
        file = tmp_path / "channels"
        behind = url.removeprefix("http://")
        file.write_text(f"json://{behind}/{TOKEN}\njson://127.0.0.1:9/{TOKEN}\n{TOKEN}\n"[:-1])
        code = (
            "import asyncio, sys; from pathlib import Path\n"
            "from agent.cli.session import configure_logging\n"
            "from relayer.notices import Channels\n"
            "configure_logging(10)\n"
            "path = Path(sys.argv[1]); path.chmod(0o600); lines = path.read_text().splitlines()\n"
            "print(asyncio.run(Channels(lines[:2]).send('title', 'body', 3)))\n"
            "Channels.read(sys.argv[1])\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(file)], capture_output=True, timeout=400, check=False
        )
    assert any(TOKEN in path for path in heard)
    assert b"False" in done.stdout
    assert done.returncode != 0, "the last line is no address"
    assert found_in(done.stdout + done.stderr) == []


@contextmanager
def turns_away() -> Iterator[tuple[str, list[str]]]:
    """Serve HTTP that answers 401 to everybody, and remembers what it was asked."""
    heard: list[str] = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(self.path)
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(401)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", heard
        server.shutdown()


@contextmanager
def asks_for_a_password() -> Iterator[tuple[int, list[bytes]]]:
    """Speak as much of PostgreSQL as it takes to ask for a password and refuse it."""
    heard: list[bytes] = []
    denied = b'SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user "aml"\0\0'

    def serve(listener: socket.socket) -> None:
        with ExitStack() as held:
            while True:
                try:
                    near = held.enter_context(listener.accept()[0])
                except OSError:
                    return
                near.recv(4_096)
                near.sendall(b"R\x00\x00\x00\x08\x00\x00\x00\x03")
                heard.append(near.recv(4_096))
                near.sendall(b"E" + (len(denied) + 4).to_bytes(4, "big") + denied)
                near.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1], heard
