"""The local chain's accounts: anybody can derive the keys, so never send them anything of worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from eth_keys.datatypes import PrivateKey, PublicKey
from eth_utils.crypto import keccak

_LABEL: Final = "autonomous margin layer, local chain only, worthless: "
ROLES: Final = (
    "deployer",
    "owner",
    "guardian",
    "gas-payer",
    "price-signer-1",
    "price-signer-2",
    "price-signer-3",
    "risk-signer-1",
    "risk-signer-2",
    "risk-signer-3",
    "keeper",
    "liquidator",
    "trader-1",
    "trader-2",
    "trader-3",
    "trader-4",
)
BALANCE_WEI: Final = 1_000_000 * 10**18


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalAccount:
    """One funded account of the local chain."""

    role: str
    address: str  # EIP-55


def local_key(role: str) -> bytes:
    """Derive the 32-byte private key of a role: keccak of a public label, worth nothing."""
    return bytes(keccak(text=_LABEL + role))


def local_accounts() -> tuple[LocalAccount, ...]:
    """List the funded accounts, in the order of `ROLES`."""
    return tuple(
        LocalAccount(role=role, address=_public(role).to_checksum_address()) for role in ROLES
    )


def canonical_addresses() -> tuple[bytes, ...]:
    """List the same addresses as 20 bytes."""
    return tuple(bytes(_public(role).to_canonical_address()) for role in ROLES)


def _public(role: str) -> PublicKey:
    """Give the public key of a role."""
    return PrivateKey(local_key(role)).public_key
