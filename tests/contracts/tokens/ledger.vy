# pragma version 0.4.3
"""
@title Ledger: what the test tokens share
@license Apache-2.0
@notice For tests only: anybody may mint.
"""

from ethereum.ercs import IERC20

balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
totalSupply: public(uint256)


@external
def mint(receiver: address, amount: uint256):
    """
    @notice Make tokens for anybody who asks.
    """
    self.totalSupply += amount
    self.balanceOf[receiver] += amount
    log IERC20.Transfer(sender=empty(address), receiver=receiver, value=amount)


@external
def approve(spender: address, amount: uint256) -> bool:
    """
    @notice Let somebody send the caller's tokens.
    """
    self.allowance[msg.sender][spender] = amount
    log IERC20.Approval(owner=msg.sender, spender=spender, value=amount)
    return True


@external
@pure
def decimals() -> uint8:
    """
    @return 6, as USDC.
    """
    return 6


@internal
def _move(owner: address, receiver: address, amount: uint256):
    """
    @notice Move tokens; reverts without a word when there are too few.
    """
    self.balanceOf[owner] -= amount
    self.balanceOf[receiver] += amount
    log IERC20.Transfer(sender=owner, receiver=receiver, value=amount)


@internal
def _spend(owner: address, spender: address, amount: uint256):
    """
    @notice Use an allowance up.
    """
    if self.allowance[owner][spender] != max_value(uint256):
        self.allowance[owner][spender] -= amount
