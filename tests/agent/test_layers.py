"""Layers of configuration: what wins, who wrote it, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.config import load_settings
from agent.errors import ConfigError
from agent.layers import FOLDER, layered, networks, origin_of, shipped

NOBODY = 65_534


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def refused(path: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    return str(caught.value)


def test_layers__operators_file__wins_over_network_and_default(tmp_path: Path) -> None:
    mine = write(tmp_path, "mine.toml", 'extends = "megaeth"\n[cycle]\nevery_s = 30\n')
    layers = layered(mine)
    assert layers.tables["cycle"]["every_s"] == 30
    assert layers.tables["network"]["chain_id"] == 4326
    assert layers.tables["prices"]["triggers"]["heartbeat_s"] == 30
    assert origin_of(layers.origins, ("cycle", "every_s")) == mine
    assert origin_of(layers.origins, ("network", "chain_id")) == "megaeth.toml"
    assert origin_of(layers.origins, ("markets", "0", "symbol")) == "exchanges.toml"
    assert origin_of(layers.origins, ("prices", "tick_s")) == "default.toml"


def test_layers__list_of_tables__is_replaced_as_a_whole(tmp_path: Path) -> None:
    text = (
        'extends = "megaeth"\n[[markets]]\nsymbol = "BTC"\nclass_id = 1\n'
        '[markets.listings]\nokx = { symbol = "BTC/USDT:USDT" }\n'
    )
    settings = load_settings(write(tmp_path, "mine.toml", text))
    assert [market.symbol for market in settings.markets] == ["BTC"]


def test_layers__file_on_a_file_beside_it__takes_both(tmp_path: Path) -> None:
    write(tmp_path, "site.toml", 'extends = "megaeth"\n[metrics]\nport = 1\n[cycle]\nevery_s = 9\n')
    mine = write(tmp_path, "mine.toml", 'extends = "site.toml"\n[metrics]\nport = 2\n')
    settings = load_settings(mine)
    assert (settings.metrics.port, settings.cycle.every_s) == (2, 9)


def test_layers__circle__is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.toml", 'extends = "b.toml"\n')
    b = write(tmp_path, "b.toml", 'extends = "a.toml"\n')
    assert "leads back" in refused(b)


def test_layers__file_in_a_closed_folder__says_what_to_open(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    ours = os.geteuid()
    if ours == 0:  # root enters every folder
        os.seteuid(NOBODY)
    try:
        with pytest.raises(ConfigError, match=r"cannot be read: Permission denied\. Let this user"):
            layered(str(closed / "mine.toml"))
    finally:
        os.seteuid(ours)


def test_layers__misspelt_base__names_the_nearest(tmp_path: Path) -> None:
    said = refused(write(tmp_path, "mine.toml", 'extends = "megaet"\n'))
    assert "did you mean 'megaeth'?" in said


def test_layers__base_of_another_type__is_refused(tmp_path: Path) -> None:
    assert "must be the name" in refused(write(tmp_path, "mine.toml", "extends = 3\n"))


def test_layers__faults_in_several_places__are_all_named_at_once(tmp_path: Path) -> None:
    text = (
        'extends = "megaeth"\n[metrics]\nprt = 1\n'
        "[marks]\nminimum_venus = 3\nstale_after_ms = 1.5\n[cycle]\nevery_s = 0\n[jump]\nx = 1\n"
    )
    said = refused(write(tmp_path, "mine.toml", text))
    assert "metrics.prt: unknown key; did you mean 'port'?" in said
    assert "marks.minimum_venus: unknown key; did you mean 'minimum_venues'?" in said
    assert "marks.stale_after_ms: must be a whole number" in said
    assert "cycle.every_s" in said
    assert "jump: unknown key; did you mean 'jumps'?" in said


def test_layers__fault_of_a_lower_file__names_that_file(tmp_path: Path) -> None:
    write(tmp_path, "site.toml", 'extends = "megaeth"\n[cycle]\nevery_s = 0\n')
    said = refused(write(tmp_path, "mine.toml", 'extends = "site.toml"\n'))
    assert "cycle.every_s" in said
    assert "site.toml]" in said


def test_layers__values_that_disagree__are_all_named(tmp_path: Path) -> None:
    market = '[[markets]]\nsymbol = "BTC"\nclass_id = 7\nlistings = { okxx = { symbol = "x" } }\n'
    said = refused(write(tmp_path, "mine.toml", 'extends = "megaeth"\n' + market + market))
    assert "markets.0.class_id: there is no [rules.policy.classes.7]" in said
    assert "markets.0.listings.okxx: is none of [[venues]]" in said
    assert "markets.1.symbol: BTC is there twice" in said


PEER = '[[signers.peers]]\nurl = "https://signer.example"\n'


def test_layers__fewer_signers_than_must_sign__is_refused(tmp_path: Path) -> None:
    said = refused(write(tmp_path, "mine.toml", 'extends = "megaeth"\n' + PEER))
    assert "deployment.price_threshold: 2 have to sign, and there are 1 price signers" in said
    assert "deployment.risk_threshold: 2 have to sign" in said
    load_settings(write(tmp_path, "mine.toml", 'extends = "megaeth"\n' + PEER * 2))


def test_layers__fewer_keys_than_must_sign__is_refused(tmp_path: Path) -> None:
    keys = '[keys]\ngas_payer = "a"\nprice_signers = ["b"]\n'
    said = refused(write(tmp_path, "mine.toml", 'extends = "megaeth"\n' + keys))
    assert "deployment.price_threshold: 2 have to sign" in said
    assert "risk_threshold" not in said  # none is named: they are elsewhere, or it is a dry run


def test_layers__key_written_into_the_file__is_refused_and_not_repeated(tmp_path: Path) -> None:
    secret = "ab" * 32
    text = f'extends = "megaeth"\n[keys]\ngas_payer = "0x{secret}"\nrisk_signers = ["{secret}"]\n'
    said = refused(write(tmp_path, "mine.toml", text))
    assert "keys.gas_payer: is a key itself" in said
    assert "keys.risk_signers: is a key itself" in said
    assert secret not in said


def test_layers__password_in_the_databases_url__is_refused_and_not_repeated(tmp_path: Path) -> None:
    for url in ("postgresql://aml:hunter2@db/aml", "postgres://aml:hunter2@db/aml"):
        said = refused(
            write(tmp_path, "m.toml", f'extends = "megaeth"\n[storage]\nurl = "{url}"\n')
        )
        assert "storage.url" in said
        assert "hunter2" not in said


@pytest.mark.parametrize("network", networks())
def test_layers__networks_of_ours__are_sound(network: str) -> None:
    assert load_settings(network).network.name


def test_layers__networks__leave_out_what_only_others_stand_on() -> None:
    assert networks() == ["live", "local", "megaeth", "megaeth-testnet"]
    assert "Give one of" in refused("default")


def test_layers__no_contract_address_in_a_network_of_ours() -> None:
    for path in FOLDER.glob("megaeth*.toml"):
        assert "0x" not in path.read_text().replace("0x10e6", "").replace("0x18c7", "")


def test_shipped__folder_in_the_package__comes_before_one_beside_it(tmp_path: Path) -> None:
    inside, beside = tmp_path / "inside", tmp_path / "beside"
    beside.mkdir()
    assert shipped(inside, beside) == beside
    inside.mkdir()
    assert shipped(inside, beside) == inside
