"""A stand-in for the service manager where there is none: units as written, each as its own user.

    python manager.py enable --now UNIT... | start | stop | restart | reload | status UNIT...

ExecStart, credentials, environment, state folder, user, sd_notify and Restart are as systemd does
them; sandboxing is not. What a unit says goes to a file, which the stand-in for journalctl shows.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Mapping
from pathlib import Path

UNITS = Path("/etc/systemd/system")
RUN = Path("/run/aml-units")
START_S = 1_800.0  # TimeoutStartSec of the daemon
STOP_S = 150.0
Service = Mapping[str, list[str]]


def service(unit: str) -> Service:
    """Read [Service] of a unit and its drop-ins; an empty value clears what stands before it."""
    name, _, instance = unit.removesuffix(".service").partition("@")
    file = f"{name}@.service" if instance else f"{name}.service"
    found: dict[str, list[str]] = {}
    for path in (UNITS / file, *sorted((UNITS / f"{file}.d").glob("*.conf"))):
        for key, value in re.findall(r"^(\w+)=(.*)$", path.read_text(), re.MULTILINE):
            kept = found.setdefault(key, [])
            kept.append(value.replace("%i", instance)) if value else kept.clear()
    return found


def credentials(unit: str, told: Service, user: int) -> Path:
    """Lend the unit its credentials; one that is listed and absent keeps it from starting."""
    folder = RUN / unit / "credentials"
    folder.mkdir()
    for each in told.get("LoadCredential", []):
        name, _, source = each.partition(":")
        if not Path(source).exists():
            sys.exit(f"{unit}: status=243/CREDENTIALS: {source}")
        shutil.copyfile(source, folder / name)
        (folder / name).chmod(0o400)
        os.chown(folder / name, user, user)
    os.chown(folder, user, user)
    return folder


def supervise(unit: str) -> None:
    """Run a unit until it is told to stop, and again where it fails."""
    told, folder = service(unit), RUN / unit
    user = 61_184 + zlib.crc32(unit.encode()) % 4_000
    state = Path("/var/lib") / told["StateDirectory"][-1]
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in (state, *state.rglob("*")):
        os.chown(path, user, user)
    environment = dict(e.split("=", 1) for line in told["Environment"] for e in line.split())
    environment |= {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "CREDENTIALS_DIRECTORY": str(credentials(unit, told, user)),
        "NOTIFY_SOCKET": str(folder / "notify"),
        "WATCHDOG_USEC": str(int(told["WatchdogSec"][-1]) * 1_000_000),
    }
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.bind(environment["NOTIFY_SOCKET"])
    (folder / "notify").chmod(0o777)
    heard.settimeout(0.5)
    while True:
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                shlex.split(told["ExecStart"][-1]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=state,
                user=user,
                group=user,
                extra_groups=[],
                umask=int(told["UMask"][-1], 8),
            )
        facts = {"pid": process.pid, "ready": 0, "alive": 0, "status": "starting"}
        while process.poll() is None:
            listen(heard, facts)
            (folder / "facts.new").write_text(json.dumps(facts))
            (folder / "facts.new").rename(folder / "facts")
        if (folder / "stop").exists() or process.returncode == 0:
            return
        time.sleep(float(told["RestartSec"][-1]))


def listen(heard: socket.socket, facts: dict[str, object]) -> None:
    """Take one datagram, if one comes."""
    try:
        said = heard.recv(4_096).decode()
    except TimeoutError:
        return
    for line in said.splitlines():
        key, _, value = line.partition("=")
        if key == "STATUS":
            facts["status"] = value
        elif key in ("READY", "WATCHDOG"):
            name = {"READY": "ready", "WATCHDOG": "alive"}[key]
            facts[name] = int(str(facts[name])) + 1


def facts_of(unit: str) -> dict[str, object]:
    """Say how a unit stands; empty where it does not run."""
    try:
        facts: dict[str, object] = json.loads((RUN / unit / "facts").read_text())
    except FileNotFoundError:
        return {}
    return facts if Path(f"/proc/{facts['pid']}").exists() else {}


def start(unit: str) -> None:
    """Start a unit and wait until it is ready."""
    folder = RUN / unit
    old = folder / "log"
    kept = old.read_bytes() if old.exists() else b""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "log").write_bytes(kept)
    supervisor = subprocess.Popen(
        [sys.executable, __file__, "supervise", unit],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    ends = time.monotonic() + START_S
    while not facts_of(unit).get("ready"):
        if supervisor.poll() is not None or time.monotonic() > ends:
            sys.exit(f"{unit} did not start: {(folder / 'log').read_text()[-2_000:]}")
        time.sleep(0.2)


def stop(unit: str) -> None:
    """End a unit as its manager does: SIGTERM, and time to finish."""
    facts = facts_of(unit)
    if not facts:
        return
    (RUN / unit / "stop").touch()
    os.kill(int(str(facts["pid"])), signal.SIGTERM)
    ends = time.monotonic() + STOP_S
    while facts_of(unit):
        if time.monotonic() > ends:
            sys.exit(f"{unit} did not end within {STOP_S:.0f} s")
        time.sleep(0.2)


def reload(unit: str) -> None:
    """Tell a unit to read its files again, and wait until it has."""
    before = facts_of(unit)
    os.kill(int(str(before["pid"])), signal.SIGHUP)
    ends = time.monotonic() + STOP_S
    while facts_of(unit).get("ready") == before["ready"]:
        if time.monotonic() > ends:
            sys.exit(f"{unit} did not answer to SIGHUP")
        time.sleep(0.2)


def status(unit: str) -> None:
    """Show how a unit stands."""
    facts = facts_of(unit)
    how = "active" if facts else "inactive"
    sys.stdout.write(f"{unit}: {how}: {json.dumps(facts)}\n")


def main(arguments: list[str]) -> None:
    """Do what systemctl is asked for, as far as the guide asks."""
    verb, *units = [each for each in arguments if not each.startswith("--")]
    verbs = {"stop": stop, "reload": reload, "status": status, "supervise": supervise}
    for unit in units:
        if verb in ("enable", "start"):
            start(unit)
        elif verb == "restart":
            stop(unit)
            start(unit)
        else:
            verbs[verb](unit)


if __name__ == "__main__":
    main(sys.argv[1:])
