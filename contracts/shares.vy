# pragma version 0.4.3
"""
@title Shares: the ERC-20 part of the pool
@license Apache-2.0
@notice Transferable shares of the pool tranche. 12 decimals: USDC's six and six of virtual shares, which make
        inflating the first depositor's price cost a million times what it takes from anybody.
@dev A module: the contract that initialises it exports its external functions. Its own address holds the shares
     of waiting redemptions.
"""

from ethereum.ercs import IERC20

from contracts import refusals

NAME: constant(String[32]) = "Autonomous Margin Layer Pool"
SYMBOL: constant(String[8]) = "amlUSDC"
DECIMALS: constant(uint8) = 12

totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


@deploy
def __init__():
    """
    @notice No shares exist before the first deposit is executed.
    """
    pass


@external
@pure
def name() -> String[32]:
    """
    @return The token's name.
    """
    return NAME


@external
@pure
def symbol() -> String[8]:
    """
    @return The token's symbol.
    """
    return SYMBOL


@external
@pure
def decimals() -> uint8:
    """
    @return Decimals of a share.
    """
    return DECIMALS


@external
def transfer(receiver: address, amount: uint256) -> bool:
    """
    @notice Send shares.
    @param receiver Who gets them.
    @param amount How many.
    @return True.
    """
    self._hand_over(msg.sender, receiver, amount)
    return True


@external
def transferFrom(owner: address, receiver: address, amount: uint256) -> bool:
    """
    @notice Send shares of somebody who approved the caller.
    @param owner Whose.
    @param receiver Who gets them.
    @param amount How many.
    @return True.
    """
    allowed: uint256 = self.allowance[owner][msg.sender]
    if amount > allowed:
        refusals.refuse(refusals.ALLOWANCE_SHORT)
    # The largest allowance is meant as without end, and costs no write.
    if allowed != max_value(uint256):
        self.allowance[owner][msg.sender] = unsafe_sub(allowed, amount)
    self._hand_over(owner, receiver, amount)
    return True


@external
def approve(spender: address, amount: uint256) -> bool:
    """
    @notice Let somebody send the caller's shares; replaces what was allowed before.
    @param spender Who may.
    @param amount How many.
    @return True.
    """
    self.allowance[msg.sender][spender] = amount
    log IERC20.Approval(owner=msg.sender, spender=spender, value=amount)
    return True


@internal
def _hand_over(owner: address, receiver: address, amount: uint256):
    """
    @notice Move shares between holders.
    """
    # Shares sent to nobody, or to the contract among those of waiting redemptions, could never come back.
    if receiver == empty(address) or receiver == self:
        refusals.refuse(refusals.RECEIVER_REFUSED)
    self._move(owner, receiver, amount)


@internal
def _move(owner: address, receiver: address, amount: uint256):
    """
    @notice Move shares, also into and out of the contract's own hands.
    """
    held: uint256 = self.balanceOf[owner]
    if amount > held:
        refusals.refuse(refusals.SHARES_SHORT)
    self.balanceOf[owner] = unsafe_sub(held, amount)
    self.balanceOf[receiver] = unsafe_add(self.balanceOf[receiver], amount)
    log IERC20.Transfer(sender=owner, receiver=receiver, value=amount)


@internal
def _mint(receiver: address, amount: uint256):
    """
    @notice Make shares; the caller has checked that the supply stays in its range.
    """
    self.totalSupply = unsafe_add(self.totalSupply, amount)
    self.balanceOf[receiver] = unsafe_add(self.balanceOf[receiver], amount)
    log IERC20.Transfer(sender=empty(address), receiver=receiver, value=amount)


@internal
def _burn_own(amount: uint256):
    """
    @notice End shares of a redemption, which the contract holds itself.
    """
    self.totalSupply -= amount
    self.balanceOf[self] -= amount
    log IERC20.Transfer(sender=self, receiver=empty(address), value=amount)
