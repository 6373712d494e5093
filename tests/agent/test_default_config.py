"""`config/default.toml` says every setting once, and says what the code says."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from agent.config import Settings
from agent.config_report import plain
from agent.layers import FOLDER
from contracts.book_words import MarketRules
from contracts.price_feed import ClassRules
from contracts.risk_bounds import ClassBounds

TEXT = (FOLDER / "default.toml").read_text(encoding="utf-8")
IN_FORCE: dict[str, Any] = tomllib.loads(TEXT)
EVERYTHING: dict[str, Any] = tomllib.loads(re.sub(r"(?m)^#(?=[\[\w])", "", TEXT))
# Of no default in the code; every network of ours has them, and an operator may change them.
NUMBERS_OF_THE_HOUSE = re.compile(r"rules\.policy\.classes\.\d\.\w+")
TABLES = {
    "deployment.classes.*.rules": ClassRules,
    "deployment.classes.*.bounds": ClassBounds,
    "deployment.classes.*.margin": MarketRules,
}


def declared(model: type[BaseModel], at: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each setting that the code knows, with its default (MISSING: none)."""
    for name, field in model.model_fields.items():
        here = f"{at}{name}"
        default = field.default
        if here in TABLES:
            yield from ((f"{here}.{f.name}", MISSING) for f in fields(TABLES[here]))
        elif is_dataclass(default) and not isinstance(default, type):
            yield from ((f"{here}.{f.name}", getattr(default, f.name)) for f in fields(default))
        elif (inner := section_in(field.annotation)) is not None:
            yield from declared(inner[0], f"{here}.{inner[1]}")
        else:
            absent = default is PydanticUndefined or default is None
            yield here, MISSING if absent else plain(default)


def section_in(annotation: Any) -> tuple[type[BaseModel], str] | None:
    """Give the settings inside an annotation, and a star for each name or number on the way."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    star = "*." if get_origin(annotation) in {dict, tuple} else ""
    for argument in get_args(annotation):
        if (found := section_in(argument)) is not None:
            return found[0], star + found[1]
    return None


def written(tables: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tables.items():
        here = f"{at}{name}"
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield from written(value[0], f"{here}.*.")
        elif isinstance(value, dict) and value:
            yield from written(value, f"{here}.")
        else:
            yield here, value


def starred(name: str) -> str:
    return re.sub(r"(classes|listings)\.\w+", r"\1.*", name)


DECLARED = dict(declared(Settings))
WRITTEN = {starred(name): value for name, value in written(EVERYTHING) if name != "extends"}


def test_default_config__every_setting_of_the_code__is_written() -> None:
    assert set(DECLARED) - set(WRITTEN) == set(), "write these into config/default.toml"


def test_default_config__nothing_is_written_that_the_code_does_not_know() -> None:
    assert set(WRITTEN) - set(DECLARED) == set()


@pytest.mark.parametrize("name", sorted(n for n, d in DECLARED.items() if d is not MISSING))
def test_default_config__value__is_the_codes_default(name: str) -> None:
    assert WRITTEN[name] == DECLARED[name]


def test_default_config__in_force__are_just_the_defaults_and_the_houses_numbers() -> None:
    for name, value in written(IN_FORCE):
        if value == {}:
            continue  # a table of which nothing is in force
        house = NUMBERS_OF_THE_HOUSE.fullmatch(name)
        assert house or DECLARED[starred(name)] is not MISSING, name


def test_default_config__everything_switched_on__is_a_sound_configuration() -> None:
    tables = {name: value for name, value in EVERYTHING.items() if name != "extends"}
    Settings.model_validate(tables, strict=False)


def test_default_config__each_line_of_a_setting__fits_the_page() -> None:
    assert max(len(line) for line in TEXT.splitlines()) <= 110
