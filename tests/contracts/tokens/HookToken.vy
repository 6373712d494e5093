# pragma version 0.4.3
# pragma evm-version prague
"""
@title HookToken: calls whoever is set in the middle of every transfer
@license Apache-2.0
@notice For tests only. Stands for tokens with hooks, and for refunds to contracts: the call of a reentrancy.
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

target: address
call: Bytes[512]
reverted: public(bool)
answer: public(Bytes[64])


@deploy
def __init__():
    """
    @notice Without a hook at first.
    """
    pass


@external
def set_hook(target: address, call: Bytes[512]):
    """
    @notice Make this call in the middle of the next transfer.
    """
    self.target = target
    self.call = call


@external
def transfer(receiver: address, amount: uint256) -> bool:
    """
    @notice Send tokens; the hook runs between the two sides.
    """
    self._hooked(msg.sender, receiver, amount)
    return True


@external
def transferFrom(owner: address, receiver: address, amount: uint256) -> bool:
    """
    @notice Send tokens of somebody who approved the caller; the hook runs between the two sides.
    """
    ledger._spend(owner, msg.sender, amount)
    self._hooked(owner, receiver, amount)
    return True


@internal
def _hooked(owner: address, receiver: address, amount: uint256):
    """
    @notice Call out when the sender has paid and the receiver has not been paid, once; remember what came back.
    """
    ledger.balanceOf[owner] -= amount
    if self.target != empty(address):
        target: address = self.target
        self.target = empty(address)
        success: bool = False
        success, self.answer = raw_call(target, self.call, max_outsize=64, revert_on_failure=False)
        self.reverted = not success
    ledger.balanceOf[receiver] += amount
