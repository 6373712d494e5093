"""Options that several commands have alike: a table each, which the command takes as one value."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from agent.cli.local import DEFAULT_STATE, StateOption
from agent.cli.run import NetworkOption

JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]
CallsOption = Annotated[bool, typer.Option("--json", help="As JSON, with each call's bytes.")]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Folder of the files; else safe/ beside the state.")
]
KeyOption = Annotated[
    str | None,
    typer.Option("--key", help="File, credential:NAME or kms:REGION/KEY; else [keys] guardian."),
]
DryOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be sent and what the contract says.")
]
ForOption = Annotated[str, typer.Option("--for", help="How long: 90s, 30m, 12h, 7d.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a command works."""

    network: NetworkOption = "local"
    state: StateOption = DEFAULT_STATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner(Place):
    """How a position is wanted, and how the answer is given."""

    mode: Annotated[
        str | None, typer.Option("--mode", help="isolated or cross; else quotes.default_mode.")
    ] = None
    adjustment: Annotated[str, typer.Option("--adjustment", help="fixed or managed.")] = "managed"
    margin: Annotated[
        str | None, typer.Option("--margin", help="USDC; as much as is needed if not given.")
    ] = None
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Show the terms, but do not have them signed.")
    ] = False
    as_json: Annotated[bool, typer.Option("--json", help="As the HTTP interface answers.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Written(Place):
    """Where the owner's files are written, and how they are shown."""

    out: OutOption = None
    as_json: CallsOption = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted(Place):
    """Where a decision is looked for, and how what is found is shown."""

    price: Annotated[bool, typer.Option("--price", help="The round is one of the price feed.")] = (
        False
    )
    evidence: Annotated[
        Path | None, typer.Option("--evidence", help="Folder of the evidence, if elsewhere.")
    ] = None
    as_json: JsonOption = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent(Place):
    """Who sends what is the guardian's, and how it is shown."""

    key: KeyOption = None
    dry_run: DryOption = False
    as_json: JsonOption = False


# What stands where none of a table's options was given; typer always gives them.
PLACE, MANNER, WRITTEN, SENT, POSTED = Place(), Manner(), Written(), Sent(), Posted()


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take tables of options: typer sees each option, the command one value."""
    hints = get_type_hints(command, include_extras=True)
    groups = {
        name: kind for name, kind in hints.items() if isinstance(kind, type) and is_dataclass(kind)
    }
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        kind = groups.get(parameter.name)
        parameters += [_only(parameter, hints)] if kind is None else _options(kind)

    @wraps(command)
    def run(**given: Any) -> None:  # noqa: ANN401 - whatever the command's own options are
        for name, kind in groups.items():
            given[name] = kind(**{each.name: given.pop(each.name) for each in fields(kind)})
        command(**given)

    shown: Any = run
    shown.__signature__ = inspect.Signature(parameters)
    shown.__annotations__ = {each.name: each.annotation for each in parameters} | {"return": None}
    return run


def _only(parameter: inspect.Parameter, hints: dict[str, Any]) -> inspect.Parameter:
    keyword = inspect.Parameter.KEYWORD_ONLY
    return parameter.replace(kind=keyword, annotation=hints[parameter.name])


def _options(kind: Any) -> list[inspect.Parameter]:  # noqa: ANN401 - a dataclass
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=each.default,
            annotation=hints[each.name],
        )
        for each in fields(kind)
    ]
