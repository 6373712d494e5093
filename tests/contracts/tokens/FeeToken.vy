# pragma version 0.4.3
# pragma evm-version prague
"""
@title FeeToken: keeps a fee of every transfer
@license Apache-2.0
@notice For tests only. The fee is taken from what arrives, or on top from the sender.
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

fee: public(uint256)
on_top: public(bool)


@deploy
def __init__():
    """
    @notice Without a fee at first.
    """
    pass


@external
def set_fee(fee: uint256, on_top: bool):
    """
    @notice Keep so many units of every transfer from now on.
    """
    self.fee = fee
    self.on_top = on_top


@external
def transfer(receiver: address, amount: uint256) -> bool:
    """
    @notice Send tokens less the fee.
    """
    self._charge(msg.sender, receiver, amount)
    return True


@external
def transferFrom(owner: address, receiver: address, amount: uint256) -> bool:
    """
    @notice Send tokens of somebody who approved the caller, less the fee.
    """
    ledger._spend(owner, msg.sender, amount)
    self._charge(owner, receiver, amount)
    return True


@internal
def _charge(owner: address, receiver: address, amount: uint256):
    """
    @notice Move tokens; the fee goes to this contract.
    """
    if self.on_top:
        ledger._move(owner, receiver, amount)
        ledger._move(owner, self, self.fee)
    else:
        ledger._move(owner, receiver, amount - self.fee)
        ledger._move(owner, self, self.fee)
