"""All that is not done word for word when the guide is followed, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

NODE = "http://127.0.0.1:8545"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instead:
    """What is done in place of some words of the guide."""

    guide: str
    here: str
    why: str


# In shell blocks, wherever the words stand.
INSTEAD: Final = (
    Instead(
        guide="make package\n",
        here="AML_SKIP_INSTALL=1 .ci/package dist\n",
        why="make builds the tools' environment first; this checkout's own stands in for it",
    ),
    Instead(guide="make anvil\n", here="", why="the node that the tests use is linked already"),
    Instead(
        guide="python3 -m venv /opt/aml-0.2.0\n",
        here="cp -a /opt/aml-0.1.0 /opt/aml-0.2.0\n"
        "grep -rlI aml-0.1.0 /opt/aml-0.2.0/bin /opt/aml-0.2.0/pyvenv.cfg"
        " | xargs sed -i s/aml-0.1.0/aml-0.2.0/g\n",
        why="there is no other version: the same one goes into a second folder",
    ),
    Instead(
        guide="autonomous_margin_layer-0.2.0-py3",
        here="autonomous_margin_layer-0.1.0-py3",
        why="the same",
    ),
)

# In the files that the guide shows; what is after `$` is asked of the shell.
ADDRESSES: Final[Mapping[str, str]] = {
    "0x" + "7" * 40: "$(aml keys address /etc/aml/keys/relay)",
    "0x" + "4" * 40: "$SAFE",
    "0x" + "5" * 40: "$(aml keys address /etc/aml/guardian/key)",
    "0x" + "6" * 40: "$(cat /root/token)",
} | {
    "0x" + digit * 39 + last: f"$(aml keys address /etc/aml/signer-{n}/{kind})"
    for digit, kind in (("1", "transport"), ("2", "price"), ("3", "risk"))
    for n, last in enumerate((digit, str(int(digit) + 1), str(int(digit) + 2)), 1)
}
IN_FILES: Final = (
    Instead(
        guide='extends = "megaeth" # or',
        here='extends = "exchanges-here.toml" # or',
        why="the guide's own words for a rehearsal",
    ),
    *(
        Instead(guide=f"https://{host}.example/rpc", here=NODE, why="one node stands for all")
        for host in ("your-endpoint", "another", "the-signers-own", "a-third")
    ),
)
# Shell blocks that are done for each signer, and the file that each has.
EACH_SIGNER: Final = "N=1\n"
SIGNERS: Final = (1, 2, 3)

# What waits for a first round, a first scrape, or a node under load: tried again until it is so.
PATIENT_S: Final[Mapping[tuple[str, str], float]] = {
    ("Run under systemd", "aml health"): 900.0,
    ("Watch", "curl"): 300.0,
    ("Stop, and go on", "# rehearsal"): 600.0,
    ("Upgrade", "ln"): 600.0,
}

# Blocks that are not run here, by heading and how they begin.
NOT_RUN: Final[Mapping[tuple[str, str], str]] = {
    ("Run in containers", "docker build"): "there is no container engine; .ci/container-steps runs "
    "what is inside of the image, and docker-compose config reads the file",
}

# What stands in for programs that a server has and this layer does not.
SHIMS: Final[Mapping[str, str]] = {
    "sudo": 'shift; user=$1; shift; cd /; exec runuser -u "$user" -- "$@"',
    "systemctl": 'exec {python} {manager} "$@"',
    "journalctl": 'tail -n "${{4:-20}}" "/run/aml-units/$2/log"',
}

# What a block must print: heading, how the block begins, what is looked for.
PROMISES: Final[tuple[tuple[str, str, str], ...]] = (
    ("Install", "(cd dist", r"whl: OK"),
    ("Install", "(cd dist", r"sound"),
    ("Rehearse it on loopback", "# rehearsal: the tests' USDC", r"contractAddress\":\"0x"),
    ("Database", "sudo", r"ALTER ROLE"),
    ("Configure", "chmod", r"aml\.toml: sound; network megaeth-testnet, 5 markets"),
    ("Configure", "chmod", r"signer-1\.toml: sound"),
    ("Contracts", "aml deploy", r"PriceFeed +0x"),
    ("Contracts", "aml owner accept", r"accept-ownership\.at-once\.json"),
    ("Contracts", "aml market add", r"1-announce"),
    (
        "Contracts",
        "# rehearsal: a day later",
        r"written to /var/lib/aml/deployment\.json: market 5",
    ),
    ("Contracts", "aml check", r"is at revision None"),
    (
        "Run under systemd",
        "cp /opt/aml/lib/python3*/site-packages/agent/shipped_config/systemd/aml.service",
        r"active: .*running",
    ),
    ("Run under systemd", "aml health", r"ALL WELL"),
    ("Run under systemd", "cp /etc/aml/aml.toml", r"setting_changed.*warn_days"),
    ("Run under systemd", "cp /etc/aml/aml.toml", r"setting_needs_restart.*minimum_venues"),
    ("Run under systemd", "cp /etc/aml/aml.toml", r"reload_refused.*minimum_venues"),
    ("Watch", "install -d", r"SUCCESS: .*rules found"),
    ("Watch", "curl", r'"aml-watcher"},"value":\[[\d.]+,"1"\]'),
    ("Watch", "curl", r'"aml"},"value":\[[\d.]+,"1"\]'),
    ("Watch", "curl", r'(?s)("aml-signer"},"value":\[[\d.]+,"1"\].*){3}"result":\[\]'),
    ("Stop, and go on", "aml halt", r"(?s)NOT WELL.*BTC.*paused"),
    ("Stop, and go on", "# rehearsal\nsafe_sends /var/lib/aml/safe/resume", r"ALL WELL"),
    ("Stop, and go on", "aml market reduce-only", r"market-reduce-only-PEBL"),
    ("Retire a market", "systemctl stop", r"1-announce"),
    ("Retire a market", "# rehearsal", r'(?s)("status":"0x1".*){2}'),
)
