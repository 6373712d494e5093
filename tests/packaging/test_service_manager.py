"""The units under a real systemd: started, fed, reloaded, hung, killed, refused and stopped.

`.ci/service-manager` makes the Debian root that AML_MACHINE names, and runs this.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.packaging import machine
from tests.packaging.machine import Machine

ROOT = Path(__file__).resolve().parent.parent.parent
SIGNERS = tuple(f"aml-signer@{number}" for number in (1, 2, 3))
UNITS = ("aml", *SIGNERS, "aml-watcher")
PATIENCE_S = 900.0  # a machine may be busy
MOST_EXPOSED = 1.5
NOBODY_S_ARE = 61_184  # dynamic users are from here to 65519 (systemd.exec(5))

pytestmark = pytest.mark.long


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for something."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s for {what}"
        time.sleep(1.0)


def status_of(aml: Machine, unit: str) -> dict[str, str]:
    """Read what the kernel says of a unit's process."""
    text = aml.said(f"cat /proc/{aml.shows(unit, 'MainPID')}/status")
    return dict(re.findall(r"^(\w+):\s+(\S+)", text, re.MULTILINE))


def effective(aml: Machine) -> int:
    """Count the rounds that took effect, as the journal has them."""
    return aml.journal("aml").count("result='effective'")


@pytest.fixture(scope="module")
def aml() -> Iterator[Machine]:
    """Boot, install as an operator does, and start everything."""
    root = os.environ.get("AML_MACHINE")
    reason = machine.missing() if root else "needs a Debian root: .ci/service-manager makes it"
    found = sorted((ROOT / "node_modules" / "@foundry-rs").glob("anvil-linux-*/bin/anvil"))
    anvil = str(found[0]) if found else shutil.which("anvil")
    if reason is None and anvil is None:
        reason = "needs anvil: make anvil"
    if reason is not None:
        pytest.skip(reason)
    shown = {ROOT / "config" / "systemd": "/srv/units", Path(str(anvil)): "/usr/local/bin/anvil"}
    with machine.booted(Path(str(root)), {h: Path(t) for h, t in shown.items()}) as booted:
        booted.said((ROOT / "tests" / "packaging" / "operator.sh").read_text())
        booted.said(f"systemctl start {' '.join(SIGNERS)} aml-watcher && systemctl start aml")
        yield booted


def test_units__started__say_ready_and_serve(aml: Machine) -> None:
    for unit in UNITS:
        assert aml.shows(unit, "ActiveState") == "active"
        assert aml.shows(unit, "Type") == "notify"
    assert "no loop is stuck" in aml.said("aml health && aml health --port 9121")
    until(lambda: "kind='risk' result='effective'" in aml.journal("aml"), "a risk round")
    assert "kind='price' result='effective'" in aml.journal("aml")


@pytest.mark.parametrize("unit", UNITS)
def test_unit__confinement__is_in_force(aml: Machine, unit: str) -> None:
    status, pid = status_of(aml, unit), aml.shows(unit, "MainPID")
    assert int(status["Uid"]) >= NOBODY_S_ARE
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    name = unit.replace("@", "-")
    assert aml.said(f"stat -c '%a %u' /var/lib/private/{name}") == f"700 {status['Uid']}"
    mounts = aml.said(f"cat /proc/{pid}/mountinfo")
    assert re.search(r"inaccessible/dir /home ", mounts)
    assert "subset=pid" in mounts
    assert re.search(r"systemd-private-\S+/tmp /tmp ", mounts)
    for namespace in ("user", "mnt", "ipc", "uts"):
        shared = aml.said(f"readlink /proc/{pid}/ns/{namespace} /proc/1/ns/{namespace}").split()
        assert shared[0] != shared[1], namespace


@pytest.mark.parametrize("unit", UNITS)
def test_unit__exposure__in_a_running_manager(aml: Machine, unit: str) -> None:
    said = aml.said(f"systemd-analyze security --no-pager {unit}.service")
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found is not None
    assert float(found[1]) <= MOST_EXPOSED


def test_credentials__are_the_units_alone(aml: Machine) -> None:
    user = status_of(aml, "aml-signer@1")["Uid"]
    listed = aml.said("stat -c '%n %a %u' /run/credentials/aml-signer@1.service/*")
    names = {line.split()[0].rsplit("/", 1)[1] for line in listed.splitlines()}
    assert names == {"price", "risk", "transport", "password"}
    assert all(line.endswith(f" 400 {user}") for line in listed.splitlines())


def test_reload__says_what_changed_or_why_not(aml: Machine) -> None:
    aml.said(
        "cp /etc/aml/aml.toml kept && printf '\\n[log]\\nlevel = \"debug\"\\n' >> /etc/aml/aml.toml"
    )
    aml.said("systemctl reload aml")
    assert aml.shows("aml", "StatusText").startswith("reloaded: 1 changed")
    aml.said("echo 'broken = = 1' >> /etc/aml/aml.toml && systemctl reload aml")
    until(lambda: "reload_refused" in aml.journal("aml"), "the refusal")
    assert aml.shows("aml", "ActiveState") == "active"
    aml.said("cp kept /etc/aml/aml.toml && systemctl reload aml")


def test_watchdog__process_that_hangs__is_ended_and_started_again(aml: Machine) -> None:
    hung = ("aml", "aml-signer@2", "aml-watcher")
    before, rounds = {unit: aml.shows(unit, "MainPID") for unit in hung}, effective(aml)
    aml.said(f"kill -STOP {' '.join(before.values())}")
    for unit in hung:
        until(lambda unit=unit: "Watchdog timeout" in aml.journal(unit), f"the watchdog of {unit}")
        until(lambda unit=unit: aml.shows(unit, "ActiveState") == "active", f"{unit} again")
        assert aml.shows(unit, "MainPID") != before[unit]
        assert aml.shows(unit, "NRestarts") == "1"
    until(lambda: effective(aml) > rounds, "a round of the restarted daemon")


def test_killed__is_started_again(aml: Machine) -> None:
    aml.said(f"kill -KILL {aml.shows('aml-signer@3', 'MainPID')}")
    until(lambda: aml.shows("aml-signer@3", "NRestarts") == "1", "a restart")
    until(lambda: aml.shows("aml-signer@3", "ActiveState") == "active", "signer 3 again")


def test_stopped__drains_and_ends_with_0(aml: Machine) -> None:
    for unit in ("aml", "aml-signer@3", "aml-watcher"):
        aml.said(f"systemctl stop {unit}")
        assert aml.shows(unit, "Result") == "success", aml.journal(unit)[-2_000:]
        assert aml.shows(unit, "ExecMainStatus") == "0"
        assert "Deactivated successfully" in aml.journal(unit)
    assert re.search(r"stopped after \d+ risk cycles", aml.journal("aml"))


def test_credential_that_is_absent__keeps_the_unit_from_starting(aml: Machine) -> None:
    aml.said("mv /etc/aml/keys/relay away")
    assert aml.run("systemctl start aml").returncode == 1
    assert aml.shows("aml", "ExecMainStatus") == "243"
    assert "status=243/CREDENTIALS" in aml.journal("aml")
    aml.said("systemctl stop aml && mv away /etc/aml/keys/relay")


def test_halves__run_as_units_over_one_database(aml: Machine) -> None:
    aml.said("systemctl start aml-signer@3 && systemctl start aml-agent aml-relay")
    assert "credentials" not in aml.journal("aml-agent").lower()
    until(lambda: "result='effective'" in aml.journal("aml-agent"), "a round of the halves")
    aml.said("systemctl stop aml-agent aml-relay")
    for unit in ("aml-agent", "aml-relay"):
        assert aml.shows(unit, "ExecMainStatus") == "0"
