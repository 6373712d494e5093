"""The daemon's settings: parsed once from TOML into frozen values, every fault reported at once."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.errors import ConfigError


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
    try:
        return model.model_validate(tables, strict=False)
    except ValidationError as fault:
        faults = "\n".join(f"  - {_sentence(model, error)}" for error in fault.errors())
        raise ConfigError(f"{source} cannot be used:\n{faults}") from None


def read(model: type[Section], path: Path) -> Any:  # noqa: ANN401 - the caller's own section
    """Parse the TOML file at `path` into `model`."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as fault:
        hint = "Give --network a name (local) or the path of a TOML file."
        raise ConfigError(f"{path} cannot be read: {fault.strerror}. {hint}") from fault
    return parse(model, text, source=str(path))


def _sentence(model: type[BaseModel], error: Any) -> str:  # noqa: ANN401 - pydantic's own dictionary
    """One fault in words: where, what is wrong, what would be right."""
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        names = _fields_at(model, error["loc"][:-1])
        near = difflib.get_close_matches(str(error["loc"][-1]), names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"valid names: {', '.join(sorted(names))}"
        return f"{where}: unknown key; {hint}"
    if error["type"] == "missing":
        return f"{where}: is required and absent"
    return f"{where}: {error['msg']} (given: {error['input']!r})"


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


__all__ = ["ConfigError", "Field", "Section", "parse", "read"]
