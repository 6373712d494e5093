"""In which batches calls are made, and when: what waits is announced first and made later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contracts.calls import LAPSE_S, TIMELOCKED, NamedCall
from contracts.units import UnixS


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Who may do what with one contract, and what waits there."""

    owner: str
    pending_owner: str
    guardian: str
    launched: bool
    timelock_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One batch: its calls, from when it may be executed, and until when.

    `not_before_s` None: at once. `after_s`: seconds after the batch before it, where the time is
    not known until that one is executed.
    """

    name: str
    calls: tuple[NamedCall, ...]
    not_before_s: UnixS | None = None
    after_s: int | None = None
    until_s: UnixS | None = None


def waits(call: NamedCall, authority: Authority) -> bool:
    """Tell whether a call must be announced first."""
    to_owner = call.function == "set_guardian" and call.values[0] == authority.owner
    return authority.launched and call.function in TIMELOCKED and not to_owner


def steps(
    calls: Sequence[NamedCall],
    authorities: Mapping[str, Authority],
    etas: Mapping[NamedCall, int],
    now_s: UnixS,
) -> tuple[Step, ...]:
    """Put calls into batches.

    `etas`: when each waiting call may be made, as its contract has it; 0 where it is not announced.
    """
    waiting = [call for call in calls if waits(call, authorities[call.contract])]
    if not waiting:
        return (Step(name="at-once", calls=tuple(calls)),)
    known = {call: etas[call] for call in waiting if now_s <= etas[call] + LAPSE_S and etas[call]}
    announcing = [call for call in waiting if call not in known]
    found = []
    if announcing:
        found.append(Step(name="1-announce", calls=tuple(_announce(announcing, etas))))
    timelock_s = max(authorities[call.contract].timelock_s for call in waiting)
    earliest = max(known.values(), default=0)
    found.append(
        Step(
            name="2-execute",
            calls=tuple(calls),
            not_before_s=UnixS(earliest) if earliest > now_s and not announcing else None,
            after_s=timelock_s if announcing else None,
            until_s=UnixS(min(known.values()) + LAPSE_S) if known else None,
        )
    )
    return tuple(found)


def _announce(calls: Sequence[NamedCall], etas: Mapping[NamedCall, int]) -> list[NamedCall]:
    """Announce each; one that lapsed is withdrawn first, because nothing is announced twice."""
    found = []
    for call in calls:
        names = ("cancel_scheduled", "schedule") if etas[call] else ("schedule",)
        found += [
            NamedCall(
                contract=call.contract,
                address=call.address,
                function=name,
                values=(call.operation,),
            )
            for name in names
        ]
    return found
