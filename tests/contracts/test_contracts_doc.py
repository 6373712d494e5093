"""The specification names every event with its fields, and every function."""

from __future__ import annotations

import re

import pytest

from contracts import artifacts

TEXT = (artifacts.FOLDER.parent / "docs" / "contracts.md").read_text(encoding="utf-8")
ENTRIES = [(name, entry) for name in artifacts.DEPLOYED for entry in artifacts.load(name).abi]
EVENTS = {
    f"{entry['name']}({', '.join(item['name'] for item in entry['inputs'])})"
    for _, entry in ENTRIES
    if entry["type"] == "event"
}
FUNCTIONS = {f"{name}.{entry['name']}" for name, entry in ENTRIES if entry["type"] == "function"}


@pytest.mark.parametrize("event", sorted(EVENTS))
def test_event__of_a_contract__stands_there_with_its_fields(event):
    assert f"`{event}`" in TEXT


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_function__of_a_contract__stands_there(function):
    assert re.search(rf"\b{function.partition('.')[2]}\b", TEXT)
