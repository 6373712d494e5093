"""What `aml config` shows of settings: each with its origin, none with a secret."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from agent.cli.config import app
from agent.config import settings_of
from agent.config_report import Shown, shown, without_secret
from agent.layers import layered

RUNNER = CliRunner()
MINE = """
extends = "megaeth"
[network]
rpc_url = "https://user:word@node.example/v2/abcdefghijklmnopqrstuv?token=x"
[keys]
gas_payer = "credential:gas-payer"
"""


def rows(path: Path) -> dict[str, Shown]:
    layers = layered(str(path))
    return {row.name: row for row in shown(settings_of(layers), layers)}


def test_shown__each_value__has_its_origin(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    found = rows(path)
    assert found["keys.gas_payer"].line == f'keys.gas_payer = "credential:gas-payer"  # {path}'
    assert found["network.chain_id"].origin == "megaeth.toml"
    assert found["venues.0.id"].origin == "exchanges.toml"
    assert found["venues.0.timeout_s"].origin == "the code"
    assert found["marks.peg_low_e18"].value == 98 * 10**16


def test_shown__address_with_secrets__shows_the_host_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    assert rows(path)["network.rpc_url"].value == "https://…@node.example/v2/…?…"


def test_without_secret__plain_values__are_as_they_were() -> None:
    plain = ["https://mainnet.megaeth.com/rpc", "credential:x", 3, True]
    assert without_secret(plain) == plain


def test_config_show__json__is_a_list_of_settings() -> None:
    ran = RUNNER.invoke(app, ["show", "--network", "megaeth", "--json", "--changed"])
    assert ran.exit_code == 0
    found = {each["name"]: each["origin"] for each in json.loads(ran.stdout)}
    assert found["network.chain_id"] == "megaeth.toml"
    assert "default.toml" not in found.values()


def test_config_check__networks_of_ours__are_sound() -> None:
    ran = RUNNER.invoke(app, ["check"])
    assert ran.exit_code == 0, ran.output
    assert "megaeth: sound; network megaeth, 6 markets" in ran.stdout


def test_config_check__one_bad_file_of_two__names_all_its_faults_and_fails(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text(MINE)
    bad.write_text('extends = "megaeth"\n[cycle]\nevry_s = 3\n[prices]\ntick_s = -1\n')
    ran = RUNNER.invoke(app, ["check", str(good), str(bad), "--json"])
    assert ran.exit_code == 1
    answers = json.loads(ran.stdout)
    assert [each["sound"] for each in answers] == [True, False]
    assert "evry_s" in answers[1]["said"]
    assert "tick_s" in answers[1]["said"]
