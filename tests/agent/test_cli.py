"""The command line with wrong inputs: one sentence that says what is wrong and what to do."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agent.config import FOLDER
from models.artifact import default_artifact
from relayer.local import client

AML = [sys.executable, "-m", "agent.cli.main"]


def aml(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*AML, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def refused(*arguments: str) -> str:
    """Run a command that must fail without a traceback; return what it says."""
    ran = aml(*arguments)
    assert ran.returncode != 0, ran.stdout
    assert "Traceback" not in ran.stderr, ran.stderr
    return ran.stderr


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["run"],
        ["deploy"],
        ["demo"],
        ["status"],
        ["venues"],
        ["verify"],
        ["quote"],
        ["explain"],
        ["limits"],
        ["local", "up"],
        ["models", "train"],
    ],
    ids=" ".join,
)
def test_cli__help__answers_everywhere(command: list[str]) -> None:
    ran = aml(*command, "--help")
    assert ran.returncode == 0
    assert "Usage: " in ran.stdout
    assert not command or "Example: aml" in ran.stdout


def test_cli__unknown_configuration_key__offers_the_nearest(tmp_path: Path) -> None:
    text = (FOLDER / "local.toml").read_text().replace("heartbeat_s", "hartbeat_s")
    path = tmp_path / "mine.toml"
    path.write_text(text)
    said = refused("run", "--network", str(path), "--state", str(tmp_path / "s"))
    assert "prices.triggers.hartbeat_s: unknown key; did you mean 'heartbeat_s'?" in said


def test_cli__ill_typed_values__are_all_named(tmp_path: Path) -> None:
    text = (FOLDER / "local.toml").read_text()
    text = text.replace("tick_s = 5.0", 'tick_s = "soon"').replace("every_s = 60", "every_s = 0")
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("max_cap_e2 = 5_000", "max_cap = 5_000"))
    said = refused("run", "--network", str(path), "--state", str(tmp_path / "s"))
    assert "prices.tick_s" in said
    assert "cycle.every_s" in said
    assert "did you mean 'max_cap_e2'?" in said


def test_cli__unknown_network__says_what_to_give(tmp_path: Path) -> None:
    assert "TOML file" in refused("run", "--network", "atlantis", "--state", str(tmp_path))


def test_cli__missing_key_file__names_it(tmp_path: Path) -> None:
    path = tmp_path / "live.toml"
    path.write_text(
        LIVE
        + f'[keys]\ngas_payer = "{tmp_path}/none.json"\nprice_signers = []\nrisk_signers = []\n'
    )
    assert "none.json" in refused("run", "--network", str(path), "--state", str(tmp_path))


LIVE = """
[network]
name = "mine"
rpc_url = "http://127.0.0.1:1"
chain_id = 6343
[rules.policy.classes.1]
maintenance_floor_ratio = 0.01
max_leverage = 50
liquidation_notional_usdc = 100000
[[venues]]
id = "a"
ccxt_class = "okx"
[[markets]]
symbol = "BTC"
class_id = 1
[markets.listings.a]
symbol = "BTC/USDT:USDT"
"""


def test_cli__model_with_a_changed_byte__is_refused_and_nothing_starts(tmp_path: Path) -> None:
    shipped = default_artifact()
    folder = tmp_path / shipped.name
    shutil.copytree(shipped, folder)
    model = next(folder.glob("*.skops"))
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    path = tmp_path / "mine.toml"
    path.write_text((FOLDER / "local.toml").read_text() + f'\n[model]\nfolder = "{folder}"\n')
    changed = "is not the file that its manifest lists"
    assert changed in refused("models", "card", str(folder))
    state = tmp_path / "state"
    assert changed in refused("run", "--network", str(path), "--state", str(state))
    client.stop(state)
    assert not list(state.glob("chains/*/deployment.json"))
    assert "REFUSED" in aml("models", "list", "--models", str(tmp_path)).stdout


def candles(path: Path, **columns: list[object]) -> Path:
    base = {
        "symbol": ["A/USDC:USDC"] * 3,
        "ts": pa.array([60_000, 120_000, 180_000], pa.timestamp("ms", tz="UTC")),
        **{name: [1.0, 1.0, 1.0] for name in ("open", "high", "low", "close", "volume")},
    }
    table = {name: value for name, value in (base | columns).items() if value is not None}
    pq.write_table(pa.table(table), path)
    return path


def test_cli__replay_without_a_column__names_it(tmp_path: Path) -> None:
    path = candles(tmp_path / "c.parquet", close=None)  # type: ignore[arg-type]
    said = refused("local", "up", "--replay", str(path), "--state", str(tmp_path / "s"))
    assert "close" in said


def test_cli__replay_unsorted_within_a_symbol__names_symbol_and_row(tmp_path: Path) -> None:
    times = pa.array([60_000, 180_000, 120_000], pa.timestamp("ms", tz="UTC"))
    path = candles(tmp_path / "c.parquet", ts=times)
    said = refused("local", "up", "--replay", str(path), "--state", str(tmp_path / "s"))
    assert "A/USDC:USDC" in said
    assert "row" in said


@pytest.mark.parametrize("command", ["status", "venues", "limits"])
def test_cli__nothing_runs__says_how_to_start_a_world(command: str, tmp_path: Path) -> None:
    assert "aml local up" in refused(command, "--state", str(tmp_path))


def test_cli__time_that_is_none__is_refused(tmp_path: Path) -> None:
    said = refused("local", "up", "--from", "yesterday", "--state", str(tmp_path))
    assert "2025-05-20T00:00:00" in said


def test_cli__help__takes_at_most_half_a_second() -> None:
    """Design section 6; in time of the processor, since the machine may be busy."""
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        aml("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(times) <= 0.5
