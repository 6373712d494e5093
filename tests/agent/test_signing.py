"""Facts about which signers a configuration names, and what is missing where it cannot do."""

from __future__ import annotations

import dataclasses

import pytest

from agent.config import Settings, SignersSettings, load_settings
from agent.errors import ConfigError
from agent.network import Network, local_role
from agent.signers import Quorums
from agent.signing import peers_of, relay_key, signer_names
from agent.signing_process import place_of
from contracts.envelope import Configuration
from relayer.signing.quorum import Quorum
from relayer.signing.values import NoQuorum, Proposal, SignedMessage
from tests.agent.test_app import network
from tests.relayer import builders as b
from tests.relayer.signing.test_quorum import FakeSigner, honest

PEERS = [{"url": f"http://127.0.0.1:{port}"} for port in (9301, 9302, 9303)]


def settings(**changes: object) -> SignersSettings:
    return SignersSettings.model_validate({"peers": PEERS, **changes}, strict=False)


def local() -> Network:
    return dataclasses.replace(network("ADA"), name="local")


def whole(signers: SignersSettings | None) -> Settings:
    return load_settings("local").model_copy(update={"signers": signers})


def test_peers__local_network__are_the_worthless_keys() -> None:
    price = peers_of(local(), settings(), "price")
    assert [peer.name for peer in price] == ["price-1", "price-2", "price-3"]
    assert price[1].address == local_role("price-signer-2").address
    assert price[1].transport == local_role("signer-transport-2").address
    assert relay_key(local(), settings()).address == local_role("relay-transport").address


def test_peers__another_network_without_addresses__are_refused() -> None:
    with pytest.raises(ConfigError, match="is required, except on the local network"):
        peers_of(network("ADA"), settings(), "risk")
    with pytest.raises(ConfigError, match=r"signers\.relay_key"):
        relay_key(network("ADA"), settings())


def test_names__processes_of_their_own__are_counted_by_peer() -> None:
    assert signer_names(local(), settings())[::3] == ("price-1", "risk-1")
    assert signer_names(local(), None) == ()


def test_place__its_url__is_where_it_listens_unless_told() -> None:
    assert place_of(whole(settings()), 2, None, 0).port == 9302
    elsewhere = place_of(whole(settings()), 2, "0.0.0.0:7000", 0)
    assert (elsewhere.host, elsewhere.port) == ("0.0.0.0", 7000)


@pytest.mark.parametrize("number", [0, 4])
def test_place__number_that_is_not_configured__says_which_are(number: int) -> None:
    with pytest.raises(ConfigError, match="signers 1 to 3"):
        place_of(whole(settings()), number, None, 0)


def test_place__no_table__says_what_is_missing() -> None:
    with pytest.raises(ConfigError, match=r"no \[signers\] table"):
        place_of(whole(None), 1, None, 0)


async def test_quorums__signers_change_on_chain__the_next_message_goes_to_the_new_ones() -> None:
    """Rotation: the old digest's messages are dead, the new one's go to the new set at once."""
    signers = [FakeSigner(number, honest) for number in range(3)]
    standing = {b.PRICE_FEED: b.configuration(b.PRICE_KEYS[:2])}

    async def read(contract: str) -> Configuration:
        return standing[contract]

    quorum = Quorum(signers, 2, 5.0, b.metrics())
    quorums = Quorums(quorum, quorum, read)
    before = await quorums.collect(b.price_proposal())
    assert isinstance(before, SignedMessage)
    assert set(before.signers) == {key.address for key in b.PRICE_KEYS[:2]}
    standing[b.PRICE_FEED] = b.configuration(b.PRICE_KEYS[1:], b"\x0d" * 32)
    message = b.price_round()
    rotated = Proposal(message=message, domain=b.price_domain(b"\x0d" * 32))
    after = await quorums.collect(rotated)
    assert isinstance(after, SignedMessage)
    assert set(after.signers) == {key.address for key in b.PRICE_KEYS[1:]}
    standing[b.PRICE_FEED] = b.configuration((b.key(99),), b"\x0e" * 32)
    nobody = Proposal(message=message, domain=b.price_domain(b"\x0e" * 32))
    assert isinstance(await quorums.collect(nobody), NoQuorum)
