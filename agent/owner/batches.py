"""From calls to files for the owner's Safe, with what applies to each; nothing is signed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.errors import ConfigError
from agent.files import write_whole
from agent.owner import safe
from agent.owner.acts import said
from agent.owner.authority import Office
from agent.owner.steps import Step, steps
from agent.owner.words import moment, stretch
from contracts.calls import LAPSE_S, NamedCall


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """One batch: its step, its file's content, and what the contracts say to its calls now."""

    step: Step
    owner: str
    content: str
    refused: dict[str, str]

    @property
    def when(self) -> str:
        """Say when it may be executed."""
        step = self.step
        until = "" if step.until_s is None else f", until {moment(step.until_s)}"
        if step.after_s is not None:
            return f"{stretch(step.after_s)} after 1-announce is executed, for {stretch(LAPSE_S)}"
        if step.not_before_s is not None:
            return f"from {moment(step.not_before_s)}{until}"
        return f"at once{until}"


async def prepare(
    office: Office, name: str, calls: Sequence[NamedCall], owner: str | None = None
) -> tuple[Ready, ...]:
    """Make the batches of an act, and try what could be executed now; `owner` None: the chain's.

    Raises
    ------
    ConfigError
        The contracts have different owners, so that no one Safe can do it.
    """
    by = owner or _owner_of(office, calls)
    planned = steps(calls, office.authorities, await office.etas(calls), office.now_s)
    return tuple([await _ready(office, name, step, by) for step in planned])


def _owner_of(office: Office, calls: Sequence[NamedCall]) -> str:
    owners = {office.authorities[call.contract].owner for call in calls}
    if len(owners) > 1:
        raise ConfigError(
            f"the contracts have different owners ({', '.join(sorted(owners))}); who was proposed "
            "takes them with: aml owner accept"
        )
    return owners.pop()


async def _ready(office: Office, name: str, step: Step, owner: str) -> Ready:
    batch = safe.Batch(
        name=f"{name} ({step.name})",
        description=said(step.calls),
        chain_id=office.state.chain_id,
        safe=owner,
        made_at_ms=office.state.timestamp_s * 1_000,
        calls=step.calls,
    )
    refused = {}
    for call in _triable(step):
        if reason := await office.tried(call, owner):
            refused[str(call)] = reason
    return Ready(step=step, owner=owner, content=safe.encode(batch), refused=refused)


def _triable(step: Step) -> Sequence[NamedCall]:
    """Give what can be tried by itself: of an announced act the first, the rest may build on it."""
    if step.after_s is not None or step.not_before_s is not None:
        return ()
    return step.calls if step.until_s is None else step.calls[:1]


def save(name: str, batches: Sequence[Ready], folder: Path) -> tuple[Path, ...]:
    """Write the files, and take away those of an earlier call: their steps may be over."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob(f"{name}.*.json"):
        stale.unlink()
    files = []
    for batch in batches:
        file = folder / f"{name}.{batch.step.name}.json"
        write_whole(file, batch.content)
        files.append(file)
    return tuple(files)
