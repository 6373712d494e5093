# pragma version 0.4.3
# pragma evm-version prague
# pragma optimize gas
"""
@title LiquidityPool: counterparty of all positions, with an insurance tranche that loses first
@license Apache-2.0
@notice What traders lose, the pool gains, and the other way round. A share is worth own assets, plus what traders
        owe, less their net unrealised profit: at the price worse for whoever enters or leaves. Both tranches are
        entered and left in two steps, at prices that were observed after the request.
@custom:kill The guardian pauses WITHDRAWALS in RiskOracle; paying out stops, requests go on. To wind down, the owner
             stops new risk for good; when traders have closed, the reserve is 0 and everybody can leave.
@dev Slot `own`, from the least significant bit: assets 96 | insurance 96, USDC e6. Waiting deposits are `pending`,
     in neither. Tokens beyond the three are nobody's until `sweep()`. Every function that moves tokens is reached
     from inside the engine's lock, or takes it. contracts/pool.py is the exact mirror.
"""

from ethereum.ercs import IERC20
from ethereum.ercs import IERC4626

from contracts import authority
from contracts import refusals
from contracts import requests
from contracts import shares
from contracts import transfers
from contracts.interfaces import ICollateralVault
from contracts.interfaces import IExposure
from contracts.interfaces import ILiquidityPool
from contracts.interfaces import ILock

implements: IERC20
implements: IERC4626
implements: ILiquidityPool
initializes: authority
initializes: requests[authority := authority]
initializes: shares

exports: (
    authority.owner,
    authority.pending_owner,
    authority.guardian,
    authority.launched,
    authority.scheduled,
    authority.timelock_s,
    authority.propose_owner,
    authority.accept_ownership,
    authority.set_guardian,
    authority.launch,
    authority.schedule,
    authority.cancel_scheduled,
    requests.request_count,
    requests.request,
    requests.cooldown,
    requests.set_cooldowns,
    shares.name,
    shares.symbol,
    shares.decimals,
    shares.totalSupply,
    shares.balanceOf,
    shares.allowance,
    shares.transfer,
    shares.transferFrom,
    shares.approve,
)

event Settled:
    to_pool: int256
    to_insurance: uint256

# covered: insurance made good a trader's shortfall; the rest of it is the pool's loss.
# drawn: insurance paid traders' profit that the pool's assets could not.
event LossShared:
    shortfall: uint256
    covered: uint256
    drawn: uint256

event Insured:
    sender: indexed(address)
    amount: uint256

event DepositRequested:
    id: indexed(uint256)
    owner: indexed(address)
    tranche: uint256
    amount: uint256
    ready_at_s: uint256

event DepositExecuted:
    id: indexed(uint256)
    owner: indexed(address)
    tranche: uint256
    amount: uint256
    shares: uint256

event DepositCancelled:
    id: indexed(uint256)
    owner: indexed(address)
    tranche: uint256
    amount: uint256

event RedeemRequested:
    id: indexed(uint256)
    owner: indexed(address)
    tranche: uint256
    shares: uint256
    ready_at_s: uint256

event RedeemExecuted:
    id: indexed(uint256)
    owner: indexed(address)
    tranche: uint256
    shares: uint256
    amount: uint256

event RedeemCancelled:
    id: indexed(uint256)
    owner: indexed(address)
    tranche: uint256
    shares: uint256


AMOUNT_MASK: constant(uint256) = 2**96 - 1
VIRTUAL_SHARES: constant(uint256) = 10**6  # beside one virtual unit of assets; see docs/pool.md
MAX_SHARES: constant(uint256) = 2**150  # amount x shares stays below 2**256

token: immutable(IERC20)
engine: public(immutable(ILock))
views: public(immutable(IExposure))
vault: public(immutable(ICollateralVault))

own: uint256
pending: public(uint256)
insurance_supply: uint256
insurance_shares: public(HashMap[address, uint256])


@deploy
def __init__(
    token_: address,
    engine_: address,
    views_: address,
    vault_: address,
    owner_: address,
    guardian_: address,
    timelock_s_: uint256,
):
    """
    @param token_ USDC, 6 decimals.
    @param engine_ The only one that may settle; holds the lock. May not exist yet; check it after deployment.
    @param views_ Values open positions. May not exist yet; check it after deployment.
    @param vault_ Holds the traders' USDC. May not exist yet; check it after deployment.
    @param owner_ Sets cooldowns, timelocked, and nothing else.
    @param guardian_ Has nothing to do here; pauses are RiskOracle's.
    @param timelock_s_ Seconds that a scheduled operation waits once launched.
    """
    # With a party missing, what comes in could never leave.
    if engine_ == empty(address) or views_ == empty(address) or vault_ == empty(address):
        refusals.refuse(refusals.ADDRESS_MISSING)
    token = transfers._checked(token_)
    engine = ILock(engine_)
    views = IExposure(views_)
    vault = ICollateralVault(vault_)
    authority.__init__(owner_, guardian_, timelock_s_)
    requests.__init__()
    shares.__init__()


@external
def settle(to_pool: int256, to_insurance: uint256, shortfall: uint256):
    """
    @notice Book what traders and pool owe each other after an action, and move the difference.
    @param to_pool Traders' loss, or profit when negative, USDC e6.
    @param to_insurance Penalties, USDC e6.
    @param shortfall Loss that a trader could not pay: missing in `to_pool`, made good by insurance as far as it goes.
    """
    # Whoever could settle could pay themselves.
    if msg.sender != engine.address:
        refusals.refuse(refusals.NOT_ENGINE)
    word: uint256 = self.own
    assets: int256 = convert(word & AMOUNT_MASK, int256) + to_pool
    insurance: uint256 = (word >> 96) + to_insurance
    covered: uint256 = min(shortfall, insurance)
    insurance = unsafe_sub(insurance, covered)
    assets += convert(covered, int256)
    drawn: uint256 = 0
    if assets < 0:
        # Profit is paid from assets first; insurance stands in before a trader goes unpaid.
        drawn = convert(-assets, uint256)
        if drawn > insurance:
            refusals.refuse(refusals.POOL_EXHAUSTED)
        insurance = unsafe_sub(insurance, drawn)
        assets = 0
    self._store(convert(assets, uint256), insurance)
    log Settled(to_pool=to_pool, to_insurance=to_insurance)
    if shortfall | drawn != 0:
        log LossShared(shortfall=shortfall, covered=covered, drawn=drawn)
    net: int256 = to_pool + convert(to_insurance, int256)
    if net > 0:
        extcall vault.release(convert(net, uint256))
    elif net < 0:
        transfers._send(token, vault.address, convert(-net, uint256))
        extcall vault.credit(convert(-net, uint256))


@external
def insure(amount: uint256):
    """
    @notice Count tokens that were sent as insurance.
    @param amount USDC e6.
    """
    if msg.sender != vault.address and msg.sender != engine.address:
        refusals.refuse(refusals.NOT_VAULT)
    # What did not arrive would be paid out of deposits.
    if amount > self._excess():
        refusals.refuse(refusals.TOKENS_MISSING)
    self._insure(amount)


@external
def sweep():
    """
    @notice Make tokens that are nobody's, donations and mistakes, insurance. Anybody may.
    """
    extcall engine.enter()
    amount: uint256 = self._excess()
    # An empty sweep would only be noise in the events.
    if amount == 0:
        refusals.refuse(refusals.NOTHING_TO_SWEEP)
    self._insure(amount)
    extcall engine.leave()


@external
def request_deposit(tranche: uint256, amount: uint256) -> uint256:
    """
    @notice Hand over USDC that will buy shares once the cooldown has passed.
    @param tranche 1 pool, 2 insurance.
    @param amount USDC e6, approved to this contract.
    @return The request's id.
    """
    extcall engine.enter()
    requests._known_tranche(tranche)
    if amount == 0:
        refusals.refuse(refusals.AMOUNT_ZERO)
    if amount > AMOUNT_MASK:
        refusals.refuse(refusals.AMOUNT_TOO_LARGE)
    id: uint256 = 0
    ready_at_s: uint256 = 0
    id, ready_at_s = requests._open(requests.DEPOSIT, tranche, amount)
    self.pending += amount
    log DepositRequested(id=id, owner=msg.sender, tranche=tranche, amount=amount, ready_at_s=ready_at_s)
    transfers._take(token, msg.sender, amount)
    extcall engine.leave()
    return id


@external
def execute_deposit(id: uint256) -> uint256:
    """
    @notice Turn a waiting deposit into shares at the entering value of now. Anybody may.
    @param id The request.
    @return Shares made, to its owner.
    """
    extcall engine.enter()
    owner: address = empty(address)
    tranche: uint256 = 0
    amount: uint256 = 0
    since_ms: uint256 = 0
    owner, tranche, amount, since_ms = requests._take_ready(requests.DEPOSIT, id)
    worth: uint256 = self._entering_value(tranche, since_ms)
    supply: uint256 = self._supply(tranche)
    # Taken in full before it is judged: where the value is low, a unit buys more shares than can be counted.
    made: uint256 = self._shares_for(amount, supply, worth)
    # Rounded down to none, the money would be a gift.
    if made == 0:
        refusals.refuse(refusals.SHARES_ZERO)
    if made > MAX_SHARES - supply:
        refusals.refuse(refusals.SHARES_EXHAUSTED)
    self.pending -= amount
    assets: uint256 = self.own & AMOUNT_MASK
    insurance: uint256 = self.own >> 96
    if tranche == requests.POOL:
        self._store(assets + amount, insurance)
        shares._mint(owner, made)
        log IERC4626.Deposit(sender=msg.sender, owner=owner, assets=amount, shares=made)
    else:
        self._store(assets, insurance + amount)
        self.insurance_supply = supply + made
        self.insurance_shares[owner] += made
    log DepositExecuted(id=id, owner=owner, tranche=tranche, amount=amount, shares=made)
    extcall engine.leave()
    return made


@external
def cancel_deposit(id: uint256):
    """
    @notice Take a deposit back that nobody has executed within a week after its cooldown.
    @param id The caller's request.
    """
    extcall engine.enter()
    tranche: uint256 = 0
    amount: uint256 = 0
    tranche, amount = requests._take_back(requests.DEPOSIT, id)
    self.pending -= amount
    log DepositCancelled(id=id, owner=msg.sender, tranche=tranche, amount=amount)
    transfers._pay(token, msg.sender, amount)
    extcall engine.leave()


@external
def request_redeem(tranche: uint256, amount: uint256) -> uint256:
    """
    @notice Hand over shares that will be paid out once the cooldown has passed; until then they gain and lose.
    @param tranche 1 pool, 2 insurance.
    @param amount Shares.
    @return The request's id.
    """
    extcall engine.enter()
    requests._known_tranche(tranche)
    if amount == 0:
        refusals.refuse(refusals.AMOUNT_ZERO)
    if tranche == requests.POOL:
        shares._move(msg.sender, self, amount)
    else:
        held: uint256 = self.insurance_shares[msg.sender]
        if amount > held:
            refusals.refuse(refusals.SHARES_SHORT)
        self.insurance_shares[msg.sender] = unsafe_sub(held, amount)
    id: uint256 = 0
    ready_at_s: uint256 = 0
    id, ready_at_s = requests._open(requests.REDEEM, tranche, amount)
    log RedeemRequested(id=id, owner=msg.sender, tranche=tranche, shares=amount, ready_at_s=ready_at_s)
    extcall engine.leave()
    return id


@external
def execute_redeem(id: uint256) -> uint256:
    """
    @notice Pay waiting shares out at the leaving value of now. Anybody may.
    @param id The request.
    @return USDC e6 paid, to its owner.
    """
    extcall engine.enter()
    # A doubt about the books must be able to stop money from leaving.
    if not staticcall views.withdrawals_open():
        refusals.refuse(refusals.WITHDRAWALS_PAUSED)
    owner: address = empty(address)
    tranche: uint256 = 0
    amount: uint256 = 0
    since_ms: uint256 = 0
    owner, tranche, amount, since_ms = requests._take_ready(requests.REDEEM, id)
    worth: uint256 = 0
    reserve: uint256 = 0
    worth, reserve = self._leaving_value(tranche, since_ms)
    paid: uint256 = self._assets_for(amount, self._supply(tranche), worth)
    # Anybody may execute: nobody's shares may be burnt for nothing at a bad moment.
    if paid == 0:
        refusals.refuse(refusals.ASSETS_ZERO)
    assets: uint256 = self.own & AMOUNT_MASK
    insurance: uint256 = self.own >> 96
    # Open profit must stay payable: by the pool alone, and with insurance behind it when that leaves.
    if tranche == requests.POOL:
        if paid + reserve > assets:
            refusals.refuse(refusals.RESERVE_NEEDED)
        self._store(assets - paid, insurance)
        shares._burn_own(amount)
        log IERC4626.Withdraw(sender=msg.sender, receiver=owner, owner=owner, assets=paid, shares=amount)
    else:
        if paid + reserve > assets + insurance:
            refusals.refuse(refusals.RESERVE_NEEDED)
        self._store(assets, insurance - paid)
        self.insurance_supply -= amount
    log RedeemExecuted(id=id, owner=owner, tranche=tranche, shares=amount, amount=paid)
    transfers._pay(token, owner, paid)
    extcall engine.leave()
    return paid


@external
def cancel_redeem(id: uint256):
    """
    @notice Take shares back whose redemption nobody has executed within a week after its cooldown.
    @param id The caller's request.
    """
    extcall engine.enter()
    tranche: uint256 = 0
    amount: uint256 = 0
    tranche, amount = requests._take_back(requests.REDEEM, id)
    if tranche == requests.POOL:
        shares._move(self, msg.sender, amount)
    else:
        self.insurance_shares[msg.sender] += amount
    log RedeemCancelled(id=id, owner=msg.sender, tranche=tranche, shares=amount)
    extcall engine.leave()


@external
def deposit(assets: uint256, receiver: address) -> uint256:
    """
    @notice Refuses: ERC-4626's one step would be at a price that the caller knows.
    """
    refusals.refuse(refusals.USE_REQUESTS)
    return 0


@external
def mint(amount: uint256, receiver: address) -> uint256:
    """
    @notice Refuses, as `deposit`.
    """
    refusals.refuse(refusals.USE_REQUESTS)
    return 0


@external
def withdraw(assets: uint256, receiver: address, owner: address) -> uint256:
    """
    @notice Refuses, as `deposit`.
    """
    refusals.refuse(refusals.USE_REQUESTS)
    return 0


@external
def redeem(amount: uint256, receiver: address, owner: address) -> uint256:
    """
    @notice Refuses, as `deposit`.
    """
    refusals.refuse(refusals.USE_REQUESTS)
    return 0


@external
@view
def maxDeposit(receiver: address) -> uint256:
    """
    @return 0: nothing can be deposited in one step.
    """
    return 0


@external
@view
def maxMint(receiver: address) -> uint256:
    """
    @return 0, as `maxDeposit`.
    """
    return 0


@external
@view
def maxWithdraw(owner: address) -> uint256:
    """
    @return 0, as `maxDeposit`.
    """
    return 0


@external
@view
def maxRedeem(owner: address) -> uint256:
    """
    @return 0, as `maxDeposit`.
    """
    return 0


@external
@view
def asset() -> address:
    """
    @return USDC.
    """
    return token.address


@external
@view
def totalAssets() -> uint256:
    """
    @return The pool tranche's value at the last accepted marks, USDC e6, never below 0. For display: nobody enters
            or leaves at it.
    """
    return self._middle_value()


@external
@view
def convertToShares(assets: uint256) -> uint256:
    """
    @param assets USDC e6.
    @return Shares at `totalAssets()`, rounded down.
    """
    return self._shares_for(assets, shares.totalSupply, self._middle_value())


@external
@view
def convertToAssets(amount: uint256) -> uint256:
    """
    @param amount Shares.
    @return USDC e6 at `totalAssets()`, rounded down.
    """
    return self._assets_for(amount, shares.totalSupply, self._middle_value())


@external
@view
def previewDeposit(assets: uint256) -> uint256:
    """
    @param assets USDC e6.
    @return Shares at the entering value of now; refuses without fresh prices.
    """
    return self._shares_for(assets, shares.totalSupply, self._entering_value(requests.POOL, 0))


@external
@view
def previewMint(amount: uint256) -> uint256:
    """
    @param amount Shares.
    @return USDC e6 that make at least so many at the entering value of now; refuses without fresh prices.
    """
    worth: uint256 = self._entering_value(requests.POOL, 0)
    return self._ceil(amount * (worth + 1), shares.totalSupply + VIRTUAL_SHARES)


@external
@view
def previewRedeem(amount: uint256) -> uint256:
    """
    @param amount Shares.
    @return USDC e6 at the leaving value of now; refuses without fresh prices.
    """
    return self._assets_for(amount, shares.totalSupply, self._leaving_value(requests.POOL, 0)[0])


@external
@view
def previewWithdraw(assets: uint256) -> uint256:
    """
    @param assets USDC e6.
    @return Shares that pay at least so much at the leaving value of now; refuses without fresh prices.
    """
    worth: uint256 = self._leaving_value(requests.POOL, 0)[0]
    return self._ceil(assets * (shares.totalSupply + VIRTUAL_SHARES), worth + 1)


@external
@view
def assets_for_limits() -> uint256:
    """
    @return Own assets of the pool tranche, USDC e6, whatever the prices.
    """
    return self.own & AMOUNT_MASK


@external
@view
def totals() -> (uint256, uint256, uint256, uint256, uint256):
    """
    @return Assets, insurance and waiting deposits, USDC e6; shares and insurance shares.
    """
    return (
        self.own & AMOUNT_MASK,
        self.own >> 96,
        self.pending,
        shares.totalSupply,
        self.insurance_supply,
    )


@external
@view
def excess() -> uint256:
    """
    @return Tokens that are nobody's, USDC e6.
    """
    return self._excess()


@internal
def _store(assets: uint256, insurance: uint256):
    """
    @notice Write both tranches' own assets.
    """
    # More than a tranche's bits can hold would spill into the other's.
    if assets > AMOUNT_MASK or insurance > AMOUNT_MASK:
        refusals.refuse(refusals.AMOUNT_TOO_LARGE)
    self.own = assets | (insurance << 96)


@internal
def _insure(amount: uint256):
    """
    @notice Add to insurance.
    """
    self._store(self.own & AMOUNT_MASK, (self.own >> 96) + amount)
    log Insured(sender=msg.sender, amount=amount)


@internal
@view
def _excess() -> uint256:
    """
    @return Tokens above assets, insurance and waiting deposits, USDC e6.
    """
    balance: uint256 = staticcall token.balanceOf(self)
    counted: uint256 = (self.own & AMOUNT_MASK) + (self.own >> 96) + self.pending
    if balance <= counted:
        return 0
    return unsafe_sub(balance, counted)


@internal
@view
def _supply(tranche: uint256) -> uint256:
    """
    @return The tranche's shares.
    """
    if tranche == requests.POOL:
        return shares.totalSupply
    return self.insurance_supply


@internal
@view
def _entering_value(tranche: uint256, since_ms: uint256) -> uint256:
    """
    @notice What a tranche is worth to whoever enters: the high value. Asks for prices also for insurance, so that
            nobody moves while nobody knows.
    @return USDC e6.
    """
    debts: uint256 = 0
    high: int256 = 0
    low: int256 = 0
    reserve: uint256 = 0
    debts, high, low, reserve = staticcall views.exposure(since_ms)
    if tranche == requests.INSURANCE:
        return self.own >> 96
    worth: int256 = convert((self.own & AMOUNT_MASK) + debts, int256) - low
    # A pool that owes all it has is not empty: whoever entered at 0 would own what it wins back.
    if worth <= 0 and low > 0:
        refusals.refuse(refusals.POOL_UNDER_WATER)
    return convert(worth, uint256)


@internal
@view
def _leaving_value(tranche: uint256, since_ms: uint256) -> (uint256, uint256):
    """
    @notice What a tranche is worth to whoever leaves: the low value, never below 0. Debts and traders' losses are not
            counted before they are paid: some are beyond what the traders have, and whoever left first would be
            paid them by those who stay.
    @return USDC e6, and what must stay for open profit.
    """
    debts: uint256 = 0
    high: int256 = 0
    low: int256 = 0
    reserve: uint256 = 0
    debts, high, low, reserve = staticcall views.exposure(since_ms)
    if tranche == requests.INSURANCE:
        return self.own >> 96, reserve
    return convert(max(convert(self.own & AMOUNT_MASK, int256) - max(high, 0), 0), uint256), reserve


@internal
@view
def _middle_value() -> uint256:
    """
    @return The pool tranche's value at the last accepted marks, USDC e6.
    """
    debts: uint256 = 0
    profit: int256 = 0
    debts, profit = staticcall views.exposure_at_last_prices()
    return convert(max(convert((self.own & AMOUNT_MASK) + debts, int256) - profit, 0), uint256)


@internal
@pure
def _shares_for(assets: uint256, supply: uint256, worth: uint256) -> uint256:
    """
    @return Shares that assets buy, rounded down.
    """
    return assets * (supply + VIRTUAL_SHARES) // (worth + 1)


@internal
@pure
def _assets_for(amount: uint256, supply: uint256, worth: uint256) -> uint256:
    """
    @return USDC e6 that shares are worth, rounded down. All shares together are never worth more than `worth`.
    """
    return amount * (worth + 1) // (supply + VIRTUAL_SHARES)


@internal
@pure
def _ceil(dividend: uint256, divisor: uint256) -> uint256:
    """
    @return The quotient, rounded up.
    """
    return (dividend + divisor - 1) // divisor
