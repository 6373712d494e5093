"""Whose addresses a deployment registers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agent.config import Settings, SignerPeerSettings, SignersSettings, load_settings
from agent.deploying import require_quorums, require_token, signers_of
from agent.errors import ConfigError
from agent.network import local_keys

PEERS = {
    "price": ("0x" + "c3" * 20, "0x" + "a1" * 20),
    "risk": ("0x" + "b2" * 20, "0x" + "d4" * 20),
}


def network() -> Any:
    return SimpleNamespace(name="mine", keys=local_keys())


def with_peers(**changes: str | None) -> Settings:
    first = {"url": "http://one:1", "price": PEERS["price"][0], "risk": PEERS["risk"][0]}
    second = {"url": "http://two:1", "price": PEERS["price"][1], "risk": PEERS["risk"][1]}
    peers = (SignerPeerSettings(**first), SignerPeerSettings(**second | changes))
    return load_settings("local").model_copy(update={"signers": SignersSettings(peers=peers)})


@pytest.mark.parametrize("kind", ["price", "risk"])
def test_signers__in_this_process__are_its_keys_ascending(kind: str) -> None:
    keys = getattr(local_keys(), f"{kind}_signers")
    found = signers_of(kind, network(), load_settings("local"))
    assert found == tuple(sorted((key.address for key in keys), key=str.lower))


@pytest.mark.parametrize("kind", ["price", "risk"])
def test_signers__processes_of_their_own__are_the_peers_and_no_key_here(kind: str) -> None:
    found = signers_of(kind, network(), with_peers())
    assert [each.lower() for each in found] == sorted(PEERS[kind])
    assert not set(found) & {key.address for key in local_keys().price_signers}


def test_signers__a_peer_without_its_address__is_named() -> None:
    with pytest.raises(ConfigError, match=r"signers\.peers\[1\]\.risk: is required to deploy"):
        signers_of("risk", network(), with_peers(risk=None))


def quorums(*, price: int, risk: int) -> Any:
    return SimpleNamespace(
        price_signers=PEERS["price"],
        price_threshold=price,
        risk_signers=PEERS["risk"],
        risk_threshold=risk,
    )


def test_quorums__as_many_signers_as_must_sign__is_let_pass() -> None:
    require_quorums(quorums(price=2, risk=1))


def test_quorums__fewer_signers_than_must_sign__is_refused_before_anything_is_paid() -> None:
    refused = r"deployment\.risk_threshold: 3 have to sign, and there are 2 risk signers"
    with pytest.raises(ConfigError, match=refused):
        require_quorums(quorums(price=2, risk=3))


class Chain:
    """An endpoint of a chain on which one contract stands."""

    async def call(self, method: str, address: str, block: str) -> str:
        assert (method, block) == ("eth_getCode", "latest")
        return "0x6000" if address == "0x" + "01" * 20 else "0x"


@pytest.mark.parametrize("token", [None, "0x" + "01" * 20])
async def test_token__a_contract_or_none_at_all__is_let_pass(token: str | None) -> None:
    await require_token(Chain(), SimpleNamespace(margin=SimpleNamespace(token=token)))  # type: ignore[arg-type]


async def test_token__an_address_without_a_contract__is_refused_before_anything_is_paid() -> None:
    plan = SimpleNamespace(margin=SimpleNamespace(token="0x" + "02" * 20))
    with pytest.raises(ConfigError, match=r"deployment\.token: no contract stands at 0x0202"):
        await require_token(Chain(), plan)  # type: ignore[arg-type]
