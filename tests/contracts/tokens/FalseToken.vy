# pragma version 0.4.3
# pragma evm-version prague
"""
@title FalseToken: answers false once it is told to, and moves nothing
@license Apache-2.0
@notice For tests only. Stands for tokens that report a failure instead of reverting.
"""

from tests.contracts.tokens import ledger

initializes: ledger
exports: (
    ledger.balanceOf,
    ledger.allowance,
    ledger.totalSupply,
    ledger.mint,
    ledger.approve,
    ledger.decimals,
)

failing: public(bool)


@deploy
def __init__():
    """
    @notice Well-behaved at first.
    """
    pass


@external
def set_failing(failing: bool):
    """
    @notice Answer false from now on, or true again.
    """
    self.failing = failing


@external
def transfer(receiver: address, amount: uint256) -> bool:
    """
    @notice Send tokens, or do not and say so.
    """
    if self.failing:
        return False
    ledger._move(msg.sender, receiver, amount)
    return True


@external
def transferFrom(owner: address, receiver: address, amount: uint256) -> bool:
    """
    @notice Send tokens of somebody who approved the caller, or do not and say so.
    """
    if self.failing:
        return False
    ledger._spend(owner, msg.sender, amount)
    ledger._move(owner, receiver, amount)
    return True
