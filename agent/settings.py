"""The daemon's settings: tables become frozen values once, and every fault is reported at once."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from agent.errors import ConfigError
from agent.layers import read_tables

Value = TypeVar("Value")
Where = tuple[str, ...]
_SECRET: Final = re.compile(r"@|[0-9a-fA-F]{64}")  # may be one, so it is not repeated


class Section(BaseModel):
    """A table of the configuration: frozen, strict, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def parse(model: type[Section], text: str, *, source: str) -> Any:  # noqa: ANN401 - the caller's own section
    """Parse TOML text into `model`.

    Raises
    ------
    ConfigError
        With every fault of the file at once, and the nearest valid name of each unknown key.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise ConfigError(f"{source} is not valid TOML: {fault}. Correct that line.") from fault
    return validated(model, tables, source=source)


def read(model: type[Section], path: Path) -> Any:  # noqa: ANN401 - the caller's own section
    """Parse the TOML file at `path` into `model`."""
    return validated(model, read_tables(path), source=str(path))


def validated(
    model: type[Section],
    tables: Mapping[str, Any],
    *,
    source: str,
    origin: Callable[[Where], str | None] = lambda _: None,
) -> Any:  # noqa: ANN401 - the caller's own section
    """Make `model` of tables; `origin` says which file a value was written in.

    Raises
    ------
    ConfigError
        With every fault at once, the nearest valid name of each unknown key, and where it stands.
    """
    try:
        return model.model_validate(tables, strict=False)
    except ValidationError as fault:
        found = [each for error in fault.errors() for each in _sentences(model, error)]
        raise refusal(source, found, origin) from None


def refusal(
    source: str,
    faults: Iterable[tuple[Where, str]],
    origin: Callable[[Where], str | None] = lambda _: None,
) -> ConfigError:
    """Put faults into one refusal; a value of another file than `source` is said to be of it."""
    lines = []
    for where, sentence in faults:
        written = origin(where)
        hint = "" if written is None or Path(written).name == Path(source).name else f" [{written}]"
        lines.append(f"  - {'.'.join(where)}: {sentence}{hint}")
    return ConfigError(f"{source} cannot be used:\n" + "\n".join(lines))


class TableError(ValueError):
    """Everything that is wrong with one table, key by key."""

    def __init__(self, faults: tuple[tuple[str, str], ...]) -> None:
        super().__init__("; ".join(f"{name}: {sentence}" for name, sentence in faults))
        self.faults = faults


def table_of(kind: type[Value]) -> BeforeValidator:
    """Read a table into one of the house's own frozen values, with the nearest valid name."""

    def read_table(given: Any) -> Value:  # noqa: ANN401 - TOML's own values
        if isinstance(given, kind):
            return given
        if not isinstance(given, Mapping):
            raise ValueError("must be a table")  # noqa: TRY004 - pydantic reports ValueErrors
        names = sorted(kind.__dataclass_fields__)  # type: ignore[attr-defined]
        faults = [(name, unknown(name, names)) for name in sorted(given.keys() - set(names))]
        faults += [
            (name, f"must be a whole number (given: {value!r})")
            for name, value in given.items()
            if name in names and type(value) is not int
        ]
        if faults:
            raise TableError(tuple(faults))
        try:
            return kind(**given)
        except TypeError as fault:
            raise ValueError(str(fault).split(") ")[-1]) from None

    return BeforeValidator(read_table)


def unknown(name: str, names: Iterable[str]) -> str:
    """Say that a key is unknown, and which was perhaps meant."""
    valid = sorted(names)
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"valid names: {', '.join(valid)}"
    return f"unknown key; {hint}"


def _sentences(model: type[BaseModel], error: Any) -> list[tuple[Where, str]]:  # noqa: ANN401 - pydantic's own dictionary
    """One of pydantic's faults in words: where, what is wrong, what would be right."""
    where = tuple(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return [(where, unknown(where[-1], _fields_at(model, error["loc"][:-1])))]
    if error["type"] == "missing":
        return [(where, "is required and absent")]
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, TableError):
        return [((*where, name), sentence) for name, sentence in cause.faults]
    if isinstance(cause, ValueError):
        return [(where, str(cause))]
    given = repr(error["input"])
    shown = "" if _SECRET.search(given) else f" (given: {given})"
    return [(where, f"{error['msg']}{shown}")]


def _fields_at(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """Names that are valid in the table at `location`."""
    current: type[BaseModel] = model
    for part in location:
        if isinstance(part, int) or part not in current.model_fields:
            continue
        nested = _section_in(current.model_fields[part].annotation)
        if nested is not None:
            current = nested
    return list(current.model_fields)


def _section_in(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - any type annotation
    """The settings type inside an annotation such as `tuple[Venue, ...]` or `dict[str, Venue]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = _section_in(argument)
        if found is not None:
            return found
    return None


__all__ = [
    "ConfigError",
    "Field",
    "Section",
    "parse",
    "read",
    "refusal",
    "table_of",
    "unknown",
    "validated",
]
