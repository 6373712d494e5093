# pragma version 0.4.3
"""
@title Requests: entering and leaving the pool's tranches in two steps
@license Apache-2.0
@notice A request waits the cooldown that held when it was made. Then anybody may execute it, and only once it has
        waited a week longer may its owner take it back: whoever could cancel at will would hold a free option on
        the price.
@dev A module: the contract that initialises it exports its external functions. Head of a request, from the least
     significant bit: owner 160 | requested_at_s 40 | ready_at_s 40 | tranche 2 | kind 1.
"""

from contracts import authority
from contracts import refusals

uses: authority

struct Request:
    head: uint256
    amount: uint256


event CooldownsChanged:
    tranche: indexed(uint256)
    deposit_s: uint256
    redeem_s: uint256


POOL: constant(uint256) = 1
INSURANCE: constant(uint256) = 2
DEPOSIT: constant(uint256) = 0
REDEEM: constant(uint256) = 1

MIN_COOLDOWN_S: constant(uint256) = 3_600  # an hour: prices move within it by more than anybody knows in advance
MAX_COOLDOWN_S: constant(uint256) = 2_592_000  # 30 days: longer would be a way to keep depositors' money
POOL_COOLDOWN_S: constant(uint256) = 86_400
INSURANCE_COOLDOWN_S: constant(uint256) = 604_800  # a week: who loses first may not leave when it begins to rain
LAPSE_S: constant(uint256) = 604_800
OBSERVED_AFTER_S: constant(uint256) = 2  # the price comes later than the request; signers' clocks differ by less

BITS_40: constant(uint256) = 2**40 - 1
REQUESTED_AT: constant(uint256) = 160
READY_AT: constant(uint256) = 200
TRANCHE_AT: constant(uint256) = 240
KIND_AT: constant(uint256) = 242

# The newest request's id; ids begin with 1.
request_count: public(uint256)
waiting: HashMap[uint256, Request]
cooldowns: HashMap[uint256, uint256[2]]


@deploy
def __init__():
    """
    @notice Begin with the default cooldowns.
    """
    self._set_cooldowns(POOL, POOL_COOLDOWN_S, POOL_COOLDOWN_S)
    self._set_cooldowns(INSURANCE, INSURANCE_COOLDOWN_S, INSURANCE_COOLDOWN_S)


@external
def set_cooldowns(tranche: uint256, deposit_s: uint256, redeem_s: uint256):
    """
    @notice Set how long requests wait that are made from now on. Timelocked.
    @param tranche 1 pool, 2 insurance.
    @param deposit_s Of deposits, one hour to 30 days.
    @param redeem_s Of redemptions, one hour to 30 days.
    """
    authority._only_owner()
    authority._consume(keccak256(slice(msg.data, 0, 100)))
    self._known_tranche(tranche)
    # Too short, and prices can be foreseen; too long, and deposits are held hostage.
    if min(deposit_s, redeem_s) < MIN_COOLDOWN_S or max(deposit_s, redeem_s) > MAX_COOLDOWN_S:
        refusals.refuse(refusals.COOLDOWN_OUT_OF_RANGE)
    self._set_cooldowns(tranche, deposit_s, redeem_s)


@external
@view
def cooldown(tranche: uint256) -> (uint256, uint256):
    """
    @param tranche 1 pool, 2 insurance.
    @return Seconds that deposits and redemptions requested now wait.
    """
    self._known_tranche(tranche)
    return self.cooldowns[tranche][DEPOSIT], self.cooldowns[tranche][REDEEM]


@external
@view
def request(id: uint256) -> (address, uint256, uint256, uint256, uint256, uint256):
    """
    @param id As `request_deposit` or `request_redeem` gave it.
    @return Owner, kind (0 deposit, 1 redemption), tranche, requested_at and ready_at in Unix s, and amount: USDC e6
            of a deposit, shares of a redemption. All 0 when nothing waits under this id.
    """
    found: Request = self.waiting[id]
    return (
        self._owner(found.head),
        found.head >> KIND_AT,
        (found.head >> TRANCHE_AT) & 3,
        (found.head >> REQUESTED_AT) & BITS_40,
        (found.head >> READY_AT) & BITS_40,
        found.amount,
    )


@internal
def _open(kind: uint256, tranche: uint256, amount: uint256) -> (uint256, uint256):
    """
    @notice Let a request of the caller wait from now on.
    @return Its id, and when it may be executed, Unix s.
    """
    id: uint256 = self.request_count + 1
    self.request_count = id
    ready_at_s: uint256 = block.timestamp + self.cooldowns[tranche][kind]
    self.waiting[id] = Request(
        head=convert(msg.sender, uint256)
        | (block.timestamp << REQUESTED_AT)
        | (ready_at_s << READY_AT)
        | (tranche << TRANCHE_AT)
        | (kind << KIND_AT),
        amount=amount,
    )
    return id, ready_at_s


@internal
def _take_ready(kind: uint256, id: uint256) -> (address, uint256, uint256, uint256):
    """
    @notice End a request that is executed now.
    @return Owner, tranche, amount, and since when a price must have been observed, Unix ms.
    """
    found: Request = self._end(kind, id)
    # Executed at once, it would meet the price that its owner knew.
    if block.timestamp < (found.head >> READY_AT) & BITS_40:
        refusals.refuse(refusals.COOLDOWN_RUNNING)
    return (
        self._owner(found.head),
        (found.head >> TRANCHE_AT) & 3,
        found.amount,
        (((found.head >> REQUESTED_AT) & BITS_40) + OBSERVED_AFTER_S) * 1_000,
    )


@internal
def _take_back(kind: uint256, id: uint256) -> (uint256, uint256):
    """
    @notice End a request that its owner cancels now.
    @return Tranche and amount.
    """
    found: Request = self._end(kind, id)
    if msg.sender != self._owner(found.head):
        refusals.refuse(refusals.NOT_REQUESTER)
    # Everybody had a week to execute it; before, taking it back would be the option not to.
    if block.timestamp < ((found.head >> READY_AT) & BITS_40) + LAPSE_S:
        refusals.refuse(refusals.NOT_LAPSED)
    return (found.head >> TRANCHE_AT) & 3, found.amount


@internal
def _end(kind: uint256, id: uint256) -> Request:
    """
    @notice Read a request and clear it: each serves once.
    """
    found: Request = self.waiting[id]
    # A deposit read as a redemption would turn USDC into shares one for one.
    if found.head == 0 or found.head >> KIND_AT != kind:
        refusals.refuse(refusals.UNKNOWN_REQUEST)
    self.waiting[id] = empty(Request)
    return found


@internal
def _set_cooldowns(tranche: uint256, deposit_s: uint256, redeem_s: uint256):
    """
    @notice Store and tell a tranche's cooldowns.
    """
    self.cooldowns[tranche][DEPOSIT] = deposit_s
    self.cooldowns[tranche][REDEEM] = redeem_s
    log CooldownsChanged(tranche=tranche, deposit_s=deposit_s, redeem_s=redeem_s)


@internal
@pure
def _known_tranche(tranche: uint256):
    """
    @notice Refuse a tranche that there is not.
    """
    if tranche != POOL and tranche != INSURANCE:
        refusals.refuse(refusals.UNKNOWN_TRANCHE)


@internal
@pure
def _owner(head: uint256) -> address:
    """
    @return Whose request it is.
    """
    return convert(head & (2**160 - 1), address)
