# pragma version 0.4.3
# pragma evm-version prague
"""
@title LockHolder: a test double that is every party of an engine, and calls it while it holds the lock
@license Apache-2.0
@notice For tests only.
"""

from contracts.interfaces import ILock


@deploy
def __init__():
    """
    @notice Holds nothing.
    """
    pass


@external
def call_locked(engine: address, data: Bytes[1024]):
    """
    @notice Take the engine's lock, as vault and pool may, and call it again inside.
    """
    extcall ILock(engine).enter()
    raw_call(engine, data)
