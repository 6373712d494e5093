"""What can be looked at on this machine: keys, model, disk, database."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from agent.app import load_model, registry_of
from agent.checks.findings import Finding, Grade, fault, warning, well
from agent.config import Settings
from agent.errors import AgentError
from agent.network import LOCAL, local_keys
from agent.storing import database_url
from agent.succession import first_of
from models.artifact import ArtifactRefused
from models.registry import RegistryError
from relayer import migrations
from relayer.errors import RelayerError, SchemaOutdated
from relayer.notices import Channels
from relayer.signing.keys_source import open_key
from relayer.storage import create_engine

GIB = 2**30
LEAST_FREE = 1 * GIB  # a day of 200 markets' evidence and bars with room
LOW_FREE = 5 * GIB


MEND_DATABASE = "systemctl restart postgresql where it runs, or correct [storage] url"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The addresses of this host's keys, by the field that names them."""

    addresses: Mapping[str, str]

    def of(self, prefix: str) -> tuple[str, ...]:
        """Give the addresses of the fields that begin so."""
        return tuple(a for field, a in self.addresses.items() if field.startswith(prefix))


def key_sources(settings: Settings) -> dict[str, tuple[str, str | None]]:
    """Name every key of this host: its field, where it is, and its password file."""
    found: dict[str, tuple[str, str | None]] = {}
    if keys := settings.keys:
        plain = {"gas_payer": keys.gas_payer, "guardian": keys.guardian, "deployer": keys.deployer}
        plain |= {f"price_signers.{n}": k for n, k in enumerate(keys.price_signers, 1)}
        plain |= {f"risk_signers.{n}": k for n, k in enumerate(keys.risk_signers, 1)}
        found |= {f"keys.{f}": (s, keys.password_file) for f, s in plain.items() if s is not None}
    if signers := settings.signers:
        others = {"signers.relay_key": signers.relay_key}
        if own := signers.own:
            others |= {
                "signers.own.price_key": own.price_key,
                "signers.own.risk_key": own.risk_key,
                "signers.own.transport_key": own.transport_key,
            }
        found |= {f: (s, signers.password_file) for f, s in others.items() if s is not None}
    return found


def keys(settings: Settings) -> tuple[Held, tuple[Finding, ...]]:
    """Open every key that is named; each must open, and be of one role only."""
    if settings.network.name == LOCAL:
        return _local()
    sources = key_sources(settings)
    if not sources:
        says = "none is named: a dry run, nothing is signed or posted"
        return Held(addresses={}), (
            warning("keys", says, "name them in [keys]; aml keys new FILE"),
        )
    addresses: dict[str, str] = {}
    findings = []
    for field, (source, password) in sources.items():
        try:
            addresses[field] = open_key(source, password).address
        except RelayerError as refused:
            findings.append(fault("keys", f"{field}: {refused}", _mend_key(str(refused), source)))
    findings += _apart(addresses)
    if "keys.deployer" in addresses:
        says = "keys.deployer is named here: it is not needed after deployment"
        findings.append(warning("keys", says, "take it out of [keys] and off this host"))
    if not any(each.grade is Grade.FAULT for each in findings):
        findings.append(well("keys", f"{len(addresses)} open, each of one role"))
    return Held(addresses=addresses), tuple(findings)


def _local() -> tuple[Held, tuple[Finding, ...]]:
    ring = local_keys()
    addresses = {f"keys.price_signers.{n}": k.address for n, k in enumerate(ring.price_signers, 1)}
    addresses |= {f"keys.risk_signers.{n}": k.address for n, k in enumerate(ring.risk_signers, 1)}
    single = {"keys.gas_payer": ring.gas_payer, "keys.guardian": ring.guardian}
    addresses |= {field: key.address for field, key in single.items() if key is not None}
    return Held(addresses=addresses), (well("keys", "the local chain's own, worthless"),)


def _mend_key(says: str, source: str) -> str:
    if "chmod" in says:
        return says[says.index("chmod") :]
    if "$CREDENTIALS_DIRECTORY is not set" in says:
        lies = f"or wherever the file {source.partition(':')[2]} lies"
        return f"export CREDENTIALS_DIRECTORY=/etc/aml/keys, {lies}; a unit has LoadCredential"
    # `aml keys new` takes a path, and would make a file of this very name.
    made = source.replace("credential:", "$CREDENTIALS_DIRECTORY/", 1)
    return f"aml keys new {made}, or name the right one; aml keys address {source}"


def _apart(addresses: Mapping[str, str]) -> Iterator[Finding]:
    """Find keys that play two roles: who steals one must not have both."""
    first: dict[str, str] = {}
    for field, address in addresses.items():
        if address in first:
            says = f"{first[address]} and {field} are one key ({address})"
            yield fault("keys", says, "aml keys new FILE, for each role its own")
        first.setdefault(address, field)


def channels(settings: Settings) -> Iterator[Finding]:
    """Read whom warnings go to, where somebody is named; nothing is sent."""
    file = settings.warnings.channels_file
    if file is None:
        return
    try:
        Channels.read(file)
    except RelayerError as refused:
        _, _, mode = str(refused).partition("lets others read it; ")
        yield fault("channels", str(refused), mode or f"correct {file}, or channels_file")
    else:
        yield well("channels", f"{file}: every line is an address; none was tried")


def model(settings: Settings) -> Iterator[Finding]:
    """Open the model in service as the daemon does, and say by what it came to be in charge."""
    registry = registry_of(settings)
    try:
        loaded, passed_over = (load_model(settings), ()) if registry is None else first_of(registry)
        steps = () if registry is None else registry.steps()
    except (ArtifactRefused, RegistryError) as refused:
        yield fault("model", f"{type(refused).__name__}: {refused}", _mend_model(settings))
        return
    if passed_over:
        yield from (fault("model", each, _mend_model(settings)) for each in passed_over)
        return
    name = loaded.model_hash.hex()[:12]
    served = [step for step in steps if step.model == loaded.model_hash.hex()]
    last = served[-1] if served else None
    if last is not None and (last.kind == "force" or not all(g.passed for g in last.gates)):
        failed = ", ".join(gate.name for gate in last.gates if not gate.passed) or "none was shown"
        yield warning("model", f"{name} was forced past gates: {failed}", f"aml models card {name}")
        return
    by = "its gates passed" if last is not None else "named, or shipped with the package"
    yield well("model", f"{name}, {by}")


def _mend_model(settings: Settings) -> str:
    if registry_of(settings) is None:
        return "correct [model] folder and hash, or bring the artifact here anew; aml models list"
    return f"aml models rollback --reason TEXT --models {settings.model.registry}"


def disk(state: Path) -> Iterator[Finding]:
    """Look at the space for journal, history and evidence."""
    place = next(each for each in (state, *state.resolve().parents) if each.exists())
    free = shutil.disk_usage(place).free
    says = f"{free / GIB:.1f} GiB free at {place}"
    mend = "make room, or move the state folder (--state); [evidence] is what grows"
    if free < LEAST_FREE:
        yield fault("disk", f"{says}, at least {LEAST_FREE // GIB}", mend)
    elif free < LOW_FREE:
        yield warning("disk", says, mend)
    else:
        yield well("disk", says)


def database(settings: Settings, state: Path) -> Iterator[Finding]:
    """Reach the database, and compare its tables with this version's."""
    try:
        url = database_url(settings.storage, state)
        name = url.render_as_string(hide_password=True)
        file = url.database if url.drivername.startswith("sqlite") else None
        if file is not None and not Path(file).exists():
            yield well("database", f"{name}: made at the first start")
            return
        if file is None and url.username is None:
            yield fault("database", f"{name}: names no user", "[storage] url = postgresql://USER@…")
            return
        engine = create_engine(url)
        try:
            migrations.require_current(engine)
        finally:
            engine.dispose()
    except SchemaOutdated as refused:
        mend = "stop every daemon, keep a copy, start this version: aml run migrates"
        yield fault("database", str(refused), mend)
    except (RelayerError, AgentError) as refused:
        yield fault("database", str(refused), "[storage] url and password_file; chmod 600 FILE")
    except SQLAlchemyError as refused:
        says = str(refused).splitlines()[0]
        yield fault("database", f"cannot be reached: {says}", MEND_DATABASE)
    else:
        yield well("database", f"{name}: reached, tables are this version's")
