"""Settings: every fault at once, with the nearest valid name."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from agent.config import load_settings
from agent.errors import ConfigError
from agent.settings import Section, parse, read


class Inner(Section):
    timeout_s: float = Field(default=1.0, gt=0)


class Outer(Section):
    heartbeat_s: int
    inner: Inner = Inner()
    many: dict[str, Inner] = Field(default_factory=dict)


def message(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(Outer, text, source="x.toml")
    return str(caught.value)


def test_settings__valid__are_parsed_and_frozen() -> None:
    parsed = parse(Outer, "heartbeat_s = 3\n[inner]\ntimeout_s = 2.5", source="x.toml")
    assert (parsed.heartbeat_s, parsed.inner.timeout_s) == (3, 2.5)


def test_settings__unknown_key__offers_the_nearest_name() -> None:
    assert "did you mean 'heartbeat_s'?" in message("heartbeat_s = 1\nhartbeat_s = 3")


def test_settings__unknown_nested_key__offers_the_nearest_name_of_that_table() -> None:
    assert "inner.timeout: unknown key; did you mean 'timeout_s'?" in message(
        "heartbeat_s = 1\n[inner]\ntimeout = 3"
    )
    assert "many.a.timeot_s: unknown key; did you mean 'timeout_s'?" in message(
        "heartbeat_s = 1\n[many.a]\ntimeot_s = 3"
    )


def test_settings__several_faults__are_all_named() -> None:
    said = message("heartbeat_s = 'soon'\n[inner]\ntimeout_s = -1")
    assert "heartbeat_s" in said
    assert "inner.timeout_s" in said


def test_settings__missing_key__is_named() -> None:
    assert "heartbeat_s: is required and absent" in message("")


def test_settings__broken_toml__says_where() -> None:
    assert "line 1" in message("heartbeat_s = = 3")


def test_settings__absent_file__says_which(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml"):
        read(Outer, tmp_path / "absent.toml")


def test_load_settings__misspelt_network__names_the_nearest_and_all() -> None:
    with pytest.raises(
        ConfigError,
        match=r"network lvie: unknown; did you mean live\? Give one of live, local, megaeth",
    ):
        load_settings("lvie")
