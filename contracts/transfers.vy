# pragma version 0.4.3
"""
@title Transfers: tokens that are believed only when they say so, and counted where it matters
@license Apache-2.0
@notice A token must answer true, as USDC does. One that answers false, reverts, or says nothing is refused, with
        one number, so that no caller meets another contract's error. Where tokens come in from or go out to
        somebody else, the balance must move by exactly the amount: no fee on transfer, no rebasing in between.
@dev A module without state.
"""

from ethereum.ercs import IERC20
from ethereum.ercs import IERC20Detailed

from contracts import refusals

USDC_DECIMALS: constant(uint8) = 6


@internal
@view
def _checked(token: address) -> IERC20:
    """
    @notice Refuse what is no token of six decimals: every amount of the system is counted in 1e-6.
    @param token The address given at deployment.
    @return The token.
    """
    if token == empty(address):
        refusals.refuse(refusals.ADDRESS_MISSING)
    if staticcall IERC20Detailed(token).decimals() != USDC_DECIMALS:
        refusals.refuse(refusals.TOKEN_DECIMALS)
    return IERC20(token)


@internal
def _send(token: IERC20, to: address, amount: uint256):
    """
    @notice Send, between vault and pool, which both count their own side.
    @param token What is sent.
    @param to Who gets it.
    @param amount How much.
    """
    success: bool = False
    answer: Bytes[32] = b""
    success, answer = raw_call(
        token.address,
        abi_encode(to, amount, method_id=method_id("transfer(address,uint256)")),
        max_outsize=32,
        revert_on_failure=False,
    )
    self._believed(success, answer)


@internal
def _pay(token: IERC20, to: address, amount: uint256):
    """
    @notice Send to somebody outside: exactly the amount leaves.
    @param token What is sent.
    @param to Who gets it.
    @param amount How much.
    """
    before: uint256 = staticcall token.balanceOf(self)
    self._send(token, to, amount)
    left: uint256 = staticcall token.balanceOf(self)
    # A fee on top would be paid out of everybody else's tokens.
    if left > before or unsafe_sub(before, left) != amount:
        refusals.refuse(refusals.TOKEN_AMOUNT_DIFFERS)


@internal
def _take(token: IERC20, owner: address, amount: uint256):
    """
    @notice Take what the owner approved: exactly the amount arrives.
    @param token What is taken.
    @param owner From whom.
    @param amount How much.
    """
    before: uint256 = staticcall token.balanceOf(self)
    success: bool = False
    answer: Bytes[32] = b""
    success, answer = raw_call(
        token.address,
        abi_encode(owner, self, amount, method_id=method_id("transferFrom(address,address,uint256)")),
        max_outsize=32,
        revert_on_failure=False,
    )
    self._believed(success, answer)
    after: uint256 = staticcall token.balanceOf(self)
    # Less would be owed without being held (a fee on transfer); more is nobody's, and a sign of the same.
    if after < before or unsafe_sub(after, before) != amount:
        refusals.refuse(refusals.TOKEN_AMOUNT_DIFFERS)


@internal
@pure
def _believed(success: bool, answer: Bytes[32]):
    """
    @notice Refuse every answer but true; an address without code answers nothing.
    """
    if not success or len(answer) != 32 or convert(answer, uint256) != 1:
        refusals.refuse(refusals.TOKEN_REFUSED)
