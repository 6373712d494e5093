"""Facts about what the self-test finds on this machine."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
import sqlalchemy as sa

from agent.checks import here
from agent.checks.findings import Finding, Grade, is_well, skipped, warning, well
from agent.config import Settings, load_settings
from models.artifact import default_artifact, load, save
from models.manifest import TrainedModel
from models.registry import Registry
from relayer import migrations


def keyed(folder: Path, **keys: str) -> Settings:
    lines = "\n".join(f'{name} = "{source}"' for name, source in keys.items())
    file = folder / "mine.toml"
    file.write_text(f'extends = "local"\n[network]\nname = "mine"\n[keys]\n{lines}\n')
    return load_settings(str(file))


def key_file(folder: Path, name: str, digit: str, mode: int = 0o600) -> str:
    file = folder / name
    file.write_text(digit * 64)
    file.chmod(mode)
    return str(file)


def graver(findings: tuple[Finding, ...]) -> list[Finding]:
    return [each for each in findings if each.grade is not Grade.WELL]


def test_keys__all_open_and_apart__is_well(tmp_path: Path) -> None:
    gas, guardian = key_file(tmp_path, "gas", "1"), key_file(tmp_path, "guardian", "2")
    held, findings = here.keys(keyed(tmp_path, gas_payer=gas, guardian=guardian))
    assert graver(findings) == []
    assert len(set(held.addresses.values())) == 2


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_keys__readable_by_others__names_the_command_that_mends_it(tmp_path: Path) -> None:
    gas = key_file(tmp_path, "gas", "1", 0o644)
    _, findings = here.keys(keyed(tmp_path, gas_payer=gas))
    (found,) = graver(findings)
    assert found.grade is Grade.FAULT
    assert found.mend == f"chmod 600 {gas}"


def test_keys__missing__says_how_to_make_one(tmp_path: Path) -> None:
    _, findings = here.keys(keyed(tmp_path, gas_payer=str(tmp_path / "none")))
    assert "aml keys new" in graver(findings)[0].mend


def test_keys__a_missing_credential__is_made_where_it_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    _, findings = here.keys(keyed(tmp_path, gas_payer="credential:gas"))
    assert graver(findings)[0].mend.startswith("aml keys new $CREDENTIALS_DIRECTORY/gas,")


def test_keys__the_credentials_folder_unset__is_what_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    _, findings = here.keys(keyed(tmp_path, gas_payer="credential:gas"))
    (found,) = graver(findings)
    assert found.mend.startswith("export CREDENTIALS_DIRECTORY=")
    assert "aml keys new" not in found.mend


def warned(folder: Path, file: Path) -> Settings:
    mine = folder / "mine.toml"
    mine.write_text(f'extends = "local"\n[warnings]\nchannels_file = "{file}"\n')
    return load_settings(str(mine))


def test_channels__of_addresses_and_private__is_well_and_none_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "channels"
    file.touch(0o600)
    file.write_text("json://127.0.0.1:9/planted\n# a remark\n")
    (found,) = here.channels(warned(tmp_path, file))
    assert found.grade is Grade.WELL
    assert "planted" not in found.says
    assert list(here.channels(load_settings("local"))) == []


@pytest.mark.parametrize(
    ("text", "mode", "mend"),
    [("", 0o644, "chmod 600 "), ("planted\n", 0o600, "correct "), (None, 0, "correct ")],
    ids=["open", "no-address", "absent"],
)
def test_channels__that_cannot_be_used__are_a_fault_with_its_mend(
    tmp_path: Path, text: str | None, mode: int, mend: str
) -> None:
    file = tmp_path / "channels"
    if text is not None:
        file.write_text(text)
        file.chmod(mode)
    (found,) = here.channels(warned(tmp_path, file))
    assert found.grade is Grade.FAULT
    assert found.mend.startswith(f"{mend}{file}")
    assert "planted" not in found.says


def test_model__champion_damaged__is_a_fault_though_the_one_before_it_serves(
    tmp_path: Path,
) -> None:
    shipped = load(default_artifact())
    manifest = dataclasses.replace(shipped.manifest, seed=99)
    twin = TrainedModel(fitted=shipped.scorer._model, manifest=manifest)
    champion = save(twin, tmp_path / "models")
    Registry(tmp_path / "models").promote(champion.name, None, reason="x", at_ms=1, force=True)
    model = next(champion.glob("*.skops"))
    model.write_bytes(model.read_bytes() + b"\x00")
    mine = tmp_path / "mine.toml"
    mine.write_text(f'extends = "local"\n[model]\nregistry = "{tmp_path}/models"\n')
    (found,) = here.model(load_settings(str(mine)))
    assert found.grade is Grade.FAULT
    assert found.mend == f"aml models rollback --reason TEXT --models {tmp_path}/models"
    Registry(tmp_path / "models").rollback(reason="as it says", at_ms=2)
    (found,) = here.model(load_settings(str(mine)))
    assert found.grade is Grade.WELL


def test_keys__two_roles_of_one_key__is_a_fault(tmp_path: Path) -> None:
    gas, guardian = key_file(tmp_path, "gas", "1"), key_file(tmp_path, "guardian", "1")
    _, findings = here.keys(keyed(tmp_path, gas_payer=gas, guardian=guardian))
    (found,) = graver(findings)
    assert "are one key" in found.says


def test_keys__none_named__is_a_dry_run_and_said(tmp_path: Path) -> None:
    file = tmp_path / "dry.toml"
    file.write_text('extends = "local"\n[network]\nname = "mine"\n')
    _, findings = here.keys(load_settings(str(file)))
    assert [each.grade for each in findings] == [Grade.WARNING]
    assert "dry run" in findings[0].says


def test_keys__deployers_left_on_the_host__is_a_warning(tmp_path: Path) -> None:
    gas, deployer = key_file(tmp_path, "gas", "1"), key_file(tmp_path, "deployer", "3")
    _, findings = here.keys(keyed(tmp_path, gas_payer=gas, deployer=deployer))
    (found,) = graver(findings)
    assert found.grade is Grade.WARNING


def test_database__never_made__is_made_at_the_first_start(tmp_path: Path) -> None:
    (found,) = here.database(load_settings("local"), tmp_path)
    assert found.grade is Grade.WELL


def test_database__this_versions_tables__is_well(tmp_path: Path) -> None:
    migrations.upgrade(f"sqlite:///{tmp_path}/aml.db")
    (found,) = here.database(load_settings("local"), tmp_path)
    assert found.grade is Grade.WELL, found


def test_database__of_another_version__says_how_to_upgrade(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/aml.db"
    migrations.upgrade(url)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0000'"))
    engine.dispose()
    (found,) = here.database(load_settings("local"), tmp_path)
    assert found.grade is Grade.FAULT
    assert "aml run migrates" in found.mend


def test_database__no_database_at_all__is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "aml.db").write_bytes(b"nothing that SQLite reads, for sure" * 100)
    (found,) = here.database(load_settings("local"), tmp_path)
    assert found.grade is Grade.FAULT


def test_disk__free_space__is_measured_where_the_state_will_be(tmp_path: Path) -> None:
    (found,) = here.disk(tmp_path / "not" / "there" / "yet")
    assert str(tmp_path) in found.says


def test_is_well__warnings_pass_and_what_was_not_looked_at_does_not() -> None:
    assert is_well([well("disk", ""), warning("keys", "")])
    assert not is_well([well("disk", ""), skipped("contracts", "")])
