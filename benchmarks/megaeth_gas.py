"""What a transaction would cost on MegaETH: the published schedule, not a measurement.

Compute gas is the EVM's; storage gas is added to it, and calldata sets a floor. From MegaETH's
documentation and specification (dual gas model, Rex5), with new storage at its usual multiplier of
one. No MegaETH node is asked, so every figure is an estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

INTRINSIC: Final = 39_000  # besides the EVM's 21,000
LEAST_GAS_LIMIT: Final = 60_000
ZERO_BYTE, OTHER_BYTE = 40, 160
FLOOR_BASE: Final = 21_000
FLOOR_ZERO_BYTE, FLOOR_OTHER_BYTE = 110, 440
LOG_TOPIC, LOG_BYTE = 3_750, 80
BASE_FEE_WEI: Final = 1_000_000


def storage_gas(calldata: bytes, logs: Sequence[tuple[int, int]]) -> int:
    """Give what is added to the EVM's gas; `logs` are topics and bytes of data."""
    zeros = calldata.count(0)
    data = ZERO_BYTE * zeros + OTHER_BYTE * (len(calldata) - zeros)
    return INTRINSIC + data + sum(LOG_TOPIC * topics + LOG_BYTE * size for topics, size in logs)


def floor_gas(calldata: bytes) -> int:
    """Give the least that a transaction with this calldata costs (EIP-7623, tenfold)."""
    zeros = calldata.count(0)
    data = FLOOR_ZERO_BYTE * zeros + FLOOR_OTHER_BYTE * (len(calldata) - zeros)
    return max(LEAST_GAS_LIMIT, FLOOR_BASE + data)


def gas(evm_gas: int, calldata: bytes, logs: Sequence[tuple[int, int]]) -> int:
    """Estimate a whole transaction from what it used in the EVM."""
    return max(evm_gas + storage_gas(calldata, logs), floor_gas(calldata))
