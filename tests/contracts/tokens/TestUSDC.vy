# pragma version 0.4.3
# pragma evm-version prague
"""
@title TestUSDC: a USDC that anybody may mint
@license Apache-2.0
@notice For tests only. Behaves as USDC does: six decimals, answers true, reverts when short.
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
@pure
def name() -> String[16]:
    """
    @return A name that cannot be mistaken.
    """
    return "Test USDC"


@external
@pure
def symbol() -> String[8]:
    """
    @return A symbol that cannot be mistaken.
    """
    return "tUSDC"


@external
def transfer(receiver: address, amount: uint256) -> bool:
    """
    @notice Send tokens.
    """
    ledger._move(msg.sender, receiver, amount)
    return True


@external
def transferFrom(owner: address, receiver: address, amount: uint256) -> bool:
    """
    @notice Send tokens of somebody who approved the caller.
    """
    ledger._spend(owner, msg.sender, amount)
    ledger._move(owner, receiver, amount)
    return True
