# pragma version 0.4.3
# pragma evm-version prague
# pragma optimize gas
"""
@title CollateralVault: the traders' USDC, apart from everyone else's money
@license Apache-2.0
@notice Holds what traders are owed: balances, isolated collateral, escrow of requests, pots of deleveraging. The
        engine's book says whose; `credited` is the sum. Tokens move only between an account holder's wallet, the
        vault and the pool. Tokens that nobody is owed go to the pool's insurance.
@custom:kill There is no owner and no switch. The guardian pauses WITHDRAWALS or EVERYTHING in RiskOracle, which the
             engine obeys; to wind down, the owner stops new risk for good and traders close and withdraw.
@dev No constructor argument can be changed. Every function that moves tokens is reached from inside the engine's
     lock, or takes it. `release` and `credit` have no events of their own: the pool's `Settled` says both, less
     to_pool + to_insurance, and 1,000 gas of every trade would say it twice.
"""

from ethereum.ercs import IERC20

from contracts import refusals
from contracts import transfers
from contracts.interfaces import ICollateralVault
from contracts.interfaces import ILiquidityPool
from contracts.interfaces import ILock

implements: ICollateralVault

event Pulled:
    account: indexed(address)
    amount: uint256

event Paid:
    account: indexed(address)
    amount: uint256

event Swept:
    amount: uint256


token: public(immutable(IERC20))
engine: public(immutable(ILock))
pool: public(immutable(ILiquidityPool))

# What traders are owed in all, USDC e6; never more than the balance.
credited: public(uint256)


@deploy
def __init__(token_: address, engine_: address, pool_: address):
    """
    @param token_ USDC, 6 decimals.
    @param engine_ The only one that may pull and pay. May not exist yet; check it after deployment.
    @param pool_ The only one that may release and credit. May not exist yet; check it after deployment.
    """
    # With a party missing, what comes in could never leave.
    if engine_ == empty(address) or pool_ == empty(address):
        refusals.refuse(refusals.ADDRESS_MISSING)
    token = transfers._checked(token_)
    engine = ILock(engine_)
    pool = ILiquidityPool(pool_)


@external
def pull(account: address, amount: uint256):
    """
    @notice Take from the wallet of an account holder who approved this contract.
    @param account The holder; the engine gives the caller, or whoever signed.
    @param amount USDC e6.
    """
    self._only_engine()
    # Cannot wrap: a token that moves exactly this amount has that many.
    self.credited = unsafe_add(self.credited, amount)
    log Pulled(account=account, amount=amount)
    transfers._take(token, account, amount)


@external
def pay(account: address, amount: uint256):
    """
    @notice Pay to an account holder's wallet.
    @param account The holder.
    @param amount USDC e6.
    """
    self._only_engine()
    self._owe_less(amount)
    log Paid(account=account, amount=amount)
    transfers._pay(token, account, amount)


@external
def release(amount: uint256):
    """
    @notice Send to the pool what traders lost to it.
    @param amount USDC e6.
    """
    self._only_pool()
    self._owe_less(amount)
    transfers._send(token, pool.address, amount)


@external
def credit(amount: uint256):
    """
    @notice Count as the traders' what the pool has sent.
    @param amount USDC e6.
    """
    self._only_pool()
    owed: uint256 = self.credited + amount
    # A book that says more than the vault holds is a promise to whoever comes last.
    if staticcall token.balanceOf(self) < owed:
        refusals.refuse(refusals.TOKENS_MISSING)
    self.credited = owed


@external
def sweep():
    """
    @notice Send tokens that nobody is owed, donations and mistakes, to the pool's insurance. Anybody may.
    """
    extcall engine.enter()
    amount: uint256 = self._excess()
    # An empty sweep would only be noise in the events.
    if amount == 0:
        refusals.refuse(refusals.NOTHING_TO_SWEEP)
    log Swept(amount=amount)
    transfers._send(token, pool.address, amount)
    extcall pool.insure(amount)
    extcall engine.leave()


@external
@view
def excess() -> uint256:
    """
    @return Tokens above what traders are owed, USDC e6.
    """
    return self._excess()


@internal
@view
def _excess() -> uint256:
    """
    @return Tokens above what traders are owed, USDC e6.
    """
    balance: uint256 = staticcall token.balanceOf(self)
    owed: uint256 = self.credited
    if balance <= owed:
        return 0
    return unsafe_sub(balance, owed)


@internal
def _owe_less(amount: uint256):
    """
    @notice Take from what traders are owed, before the tokens go.
    """
    owed: uint256 = self.credited
    # Beyond it, excess would be paid out that belongs to the insurance.
    if amount > owed:
        refusals.refuse(refusals.VAULT_SHORT)
    self.credited = unsafe_sub(owed, amount)


@internal
@view
def _only_engine():
    """
    @notice Refuse anybody but the engine, whose book says what is whose.
    """
    if msg.sender != engine.address:
        refusals.refuse(refusals.NOT_ENGINE)


@internal
@view
def _only_pool():
    """
    @notice Refuse anybody but the pool, which settles what the engine tells it.
    """
    if msg.sender != pool.address:
        refusals.refuse(refusals.NOT_POOL)
