# pragma version 0.4.3
"""
@title Authority: owner in two steps, guardian, and a timelock for what could hurt later
@license Apache-2.0
@notice The owner (a Safe) may do everything, but what adds power or widens a limit waits `timelock_s` in
        public first. The guardian may only stop and tighten. Before `launch()` the deployment is configured
        without waiting; `launch()` cannot be undone.
@dev A module: the contract that initialises it exports its external functions. Own code, because the
     envelope and the roles are what this project exists for.
"""

from contracts import refusals

event OwnerProposed:
    proposed: indexed(address)

event OwnerChanged:
    previous: indexed(address)
    current: indexed(address)

event GuardianChanged:
    previous: indexed(address)
    current: indexed(address)

event Launched:
    at_s: uint256

event OperationScheduled:
    operation: indexed(bytes32)
    eta_s: uint256

event OperationCancelled:
    operation: indexed(bytes32)

event OperationConsumed:
    operation: indexed(bytes32)


MIN_TIMELOCK_S: constant(uint256) = 3_600  # an hour: the least in which anybody can react
MAX_TIMELOCK_S: constant(uint256) = 2_592_000  # 30 days: longer, and no mistake could be mended
LAPSE_S: constant(uint256) = 1_209_600  # 14 days: a forgotten operation may not be sprung years later

timelock_s: public(immutable(uint256))

owner: public(address)
pending_owner: public(address)
guardian: public(address)
launched: public(bool)
scheduled: public(HashMap[bytes32, uint256])


@deploy
def __init__(owner: address, guardian: address, timelock: uint256):
    """
    @param owner Who owns the contract from the start; a Safe in production.
    @param guardian Who may stop and tighten.
    @param timelock Seconds that a scheduled operation waits once launched.
    """
    # Without an owner nothing could ever be mended; without a guardian nothing stopped at once.
    if owner == empty(address) or guardian == empty(address):
        refusals.refuse(refusals.ADDRESS_MISSING)
    if timelock < MIN_TIMELOCK_S or timelock > MAX_TIMELOCK_S:
        refusals.refuse(refusals.TIMELOCK_OUT_OF_RANGE)
    timelock_s = timelock
    self.owner = owner
    self.guardian = guardian
    log OwnerChanged(previous=empty(address), current=owner)
    log GuardianChanged(previous=empty(address), current=guardian)


@external
def propose_owner(proposed: address):
    """
    @notice Offer ownership; nothing changes until `accept_ownership`. Zero withdraws the offer.
    @param proposed Who may accept.
    """
    self._only_owner()
    self.pending_owner = proposed
    log OwnerProposed(proposed=proposed)


@external
def accept_ownership():
    """
    @notice Take the ownership that was offered: proves that the new owner's key works.
    """
    if msg.sender != self.pending_owner:
        refusals.refuse(refusals.NOT_PENDING_OWNER)
    log OwnerChanged(previous=self.owner, current=msg.sender)
    self.owner = msg.sender
    self.pending_owner = empty(address)


@external
def set_guardian(guardian: address):
    """
    @notice Replace the guardian. Timelocked, but for the owner itself: it may do all of that already, and a guardian
            that has turned must be gone at once.
    @param guardian The new guardian.
    """
    self._only_owner()
    if guardian != self.owner:
        self._consume(keccak256(slice(msg.data, 0, 36)))
    if guardian == empty(address):
        refusals.refuse(refusals.ADDRESS_MISSING)
    log GuardianChanged(previous=self.guardian, current=guardian)
    self.guardian = guardian


@external
def launch():
    """
    @notice End the deployment: from here on everything timelocked waits. One way.
    """
    self._only_owner()
    if self.launched:
        refusals.refuse(refusals.ALREADY_LAUNCHED)
    self.launched = True
    log Launched(at_s=block.timestamp)


@external
def schedule(operation: bytes32):
    """
    @notice Announce a timelocked call.
    @param operation keccak256 of the whole calldata of that call.
    """
    self._only_owner()
    # Scheduling again would move the eta of something that people already count on.
    if self.scheduled[operation] != 0:
        refusals.refuse(refusals.ALREADY_SCHEDULED)
    eta_s: uint256 = block.timestamp + timelock_s
    self.scheduled[operation] = eta_s
    log OperationScheduled(operation=operation, eta_s=eta_s)


@external
def cancel_scheduled(operation: bytes32):
    """
    @notice Withdraw an announced call, also one that lapsed.
    @param operation As given to `schedule`.
    """
    self._only_owner()
    if self.scheduled[operation] == 0:
        refusals.refuse(refusals.NOT_SCHEDULED)
    self.scheduled[operation] = 0
    log OperationCancelled(operation=operation)


@internal
@view
def _only_owner():
    """
    @notice Refuse anybody but the owner.
    """
    if msg.sender != self.owner:
        refusals.refuse(refusals.NOT_OWNER)


@internal
@view
def _only_guardian() -> bool:
    """
    @notice Refuse anybody but the guardian and the owner, who may do whatever the guardian may.
    @return Whether the owner is calling.
    """
    if msg.sender == self.owner:
        return True
    if msg.sender != self.guardian:
        refusals.refuse(refusals.NOT_GUARDIAN)
    return False


@internal
def _consume(operation: bytes32):
    """
    @notice Let a timelocked call pass if its time has come; each announcement serves once.
    @param operation keccak256 of the calldata of the call under way.
    """
    eta_s: uint256 = self.scheduled[operation]
    if self.launched:
        if eta_s == 0:
            refusals.refuse(refusals.NOT_SCHEDULED)
        if block.timestamp < eta_s:
            refusals.refuse(refusals.TIMELOCK_RUNNING)
        if block.timestamp > eta_s + LAPSE_S:
            refusals.refuse(refusals.SCHEDULE_LAPSED)
    elif eta_s == 0:
        return
    # Also before launch: what was announced and done then may not be done once more afterwards.
    self.scheduled[operation] = 0
    log OperationConsumed(operation=operation)
