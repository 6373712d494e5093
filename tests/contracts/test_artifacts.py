"""The artifacts in the package are what the sources compile to, and fit on chain."""

from __future__ import annotations

import json

import pytest

from contracts import artifacts
from contracts.artifacts import DEPLOYED, SIZE_LIMIT, ArtifactError, load, standard_json


def test_artifacts__compiled_again__are_the_package_s():
    pytest.importorskip("vyper")
    assert artifacts.stale() == ()


@pytest.mark.parametrize("name", DEPLOYED)
def test_artifact__deployed__fits(name):
    assert 0 < len(load(name).runtime_bytecode) <= SIZE_LIMIT


@pytest.mark.parametrize("name", DEPLOYED)
def test_artifact__sources_hash__is_that_of_the_sources(name):
    assert load(name).sources_sha256 == artifacts.sources_sha256(name)


@pytest.mark.parametrize("name", DEPLOYED)
def test_artifact__abi__names_the_refusal(name):
    errors = [entry for entry in load(name).abi if entry["type"] == "error"]
    assert [(e["name"], [i["type"] for i in e["inputs"]]) for e in errors] == [
        ("Refused", ["uint256"])
    ]


@pytest.mark.parametrize("name", DEPLOYED)
def test_standard_json__of_a_contract__holds_every_import(name):
    document = standard_json(name)
    sources = {**document["sources"], **document["interfaces"]}
    assert f"contracts/{name}.vy" in sources
    text = "\n".join(item["content"] for item in sources.values())
    imported = {line.split()[-1] for line in text.splitlines() if line.startswith("from contracts")}
    assert imported == {path.split("/")[-1].partition(".")[0] for path in sources} - {name}
    assert json.loads(json.dumps(document)) == document


def test_load__unknown__names_those_there_are():
    with pytest.raises(ArtifactError, match="PriceFeed, RiskOracle"):
        load("NoSuchContract")


def test_standard_json__unknown__names_those_there_are():
    with pytest.raises(ArtifactError, match="PriceFeed, RiskOracle"):
        standard_json("NoSuchContract")


@pytest.mark.parametrize("text", ["", "{}", '{"name": 1, "abi": [], "bytecode": "0xzz"}'])
def test_load__damaged__says_so(tmp_path, monkeypatch, text):
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "PriceFeed.json").write_text(text, encoding="utf-8")
    monkeypatch.setattr(artifacts, "FOLDER", tmp_path)
    with pytest.raises(ArtifactError, match="damaged"):
        load("PriceFeed")


def test_main__check__compares(capsys, monkeypatch):
    monkeypatch.setattr(artifacts, "compile_contract", lambda name: {"name": name})
    assert artifacts.main(["--check"]) == 1
    assert "--write" in capsys.readouterr().err


def test_main__write__replaces(tmp_path, monkeypatch):
    monkeypatch.setattr(artifacts, "FOLDER", tmp_path)
    monkeypatch.setattr(artifacts, "compile_contract", lambda name: {"name": name})
    assert artifacts.main(["--write"]) == 0
    assert artifacts.main(["--check"]) == 0
