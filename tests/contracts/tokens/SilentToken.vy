# pragma version 0.4.3
# pragma evm-version prague
"""
@title SilentToken: moves tokens and answers nothing
@license Apache-2.0
@notice For tests only. Stands for tokens whose transfer has no return value.
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


@deploy
def __init__():
    """
    @notice Nobody has any.
    """
    pass


@external
def transfer(receiver: address, amount: uint256):
    """
    @notice Send tokens.
    """
    ledger._move(msg.sender, receiver, amount)


@external
def transferFrom(owner: address, receiver: address, amount: uint256):
    """
    @notice Send tokens of somebody who approved the caller.
    """
    ledger._spend(owner, msg.sender, amount)
    ledger._move(owner, receiver, amount)
