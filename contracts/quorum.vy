# pragma version 0.4.3
"""
@title Quorum: k of n signatures over one EIP-712 message, in the configuration of this moment
@license Apache-2.0
@notice A message is valid for one chain, one contract and one configuration: the domain's salt is
        `config_digest`, which changes whenever signers, threshold, bounds or policy change, so that every
        message of every kind dies with the configuration it was made under. Rounds guard against replay
        only; freshness is judged by each market's own observation time.
@dev A module. Signatures are EIP-2098 pairs (r, vs), exactly k of them, signers strictly ascending: one
     canonical list for each set of signers, so nothing needs remembering to find a duplicate.
     `block.timestamp` is read after the signatures (MegaETH limits what may be computed after it).
"""

from contracts import authority
from contracts import refusals

uses: authority

event SignerAdded:
    signer: indexed(address)

event SignerRemoved:
    signer: indexed(address)

event ThresholdChanged:
    threshold: uint256

event PolicyHashChanged:
    policy_hash: bytes32

event ConfigChanged:
    config_count: indexed(uint256)
    config_digest: bytes32
    bounds_hash: bytes32


MAX_SIGNERS: constant(uint256) = 16
# A signed typing error burns at most 2**32 of the 2**64 numbers. Fewer would lock the signers out: they never sign
# two messages for one round, and 2**32 rounds that fail to land are 136 years at one a second.
MAX_ROUND_JUMP: constant(uint256) = 2**32
FUTURE_TOLERANCE_MS: constant(uint256) = 2_000  # MegaETH's block.timestamp runs up to about 1 s off
EPOCH_MS: constant(uint256) = 1_262_304_000_000  # 2010-01-01T00:00:00Z; contracts count from here
# The last observation that fits 30 bits of seconds, less 48 days for what is stored of the future: 2043-11.
RANGE_MS: constant(uint256) = (2**30 - 2**22) * 1_000

LARGEST_AGE_MS: constant(uint256) = 65_536  # an item may be this much older than its round

ROUND_MASK: constant(uint256) = 2**64 - 1
THRESHOLD_AT: constant(uint256) = 64
THRESHOLD_MASK: constant(uint256) = 2**8 - 1
OWN_AT: constant(uint256) = 72
S_MASK: constant(uint256) = 2**255 - 1
HALF_ORDER: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168

DOMAIN_TYPEHASH: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract,bytes32 salt)"
)
NAME_HASH: constant(bytes32) = keccak256("AutonomousMarginLayer")
VERSION_HASH: constant(bytes32) = keccak256("1")
PREFIX: constant(uint256) = 6_401  # 0x1901, which begins an EIP-712 digest

config_digest: public(bytes32)
config_count: public(uint256)
bounds_hash: public(bytes32)
policy_hash: public(bytes32)
# round 64 | threshold 8 | 184 bits of the contract's own (RiskOracle: what halts.vy stops): one slot, since
# every batch reads all of it
stream: uint256
signer_list: DynArray[address, MAX_SIGNERS]
is_signer: public(HashMap[address, bool])


@deploy
def __init__(signers: DynArray[address, MAX_SIGNERS], threshold: uint256, policy_hash: bytes32):
    """
    @param signers The first signers, without repetition.
    @param threshold How many signatures a message carries, exactly.
    @param policy_hash Hash of the rules for accepting models.
    """
    for signer: address in signers:
        self._insert_signer(signer)
    if threshold == 0 or threshold > len(signers):
        refusals.refuse(refusals.THRESHOLD_OUT_OF_RANGE)
    self.stream = threshold << THRESHOLD_AT
    self.policy_hash = policy_hash
    log ThresholdChanged(threshold=threshold)
    log PolicyHashChanged(policy_hash=policy_hash)


@external
@view
def threshold() -> uint256:
    """
    @return How many signatures a message carries, exactly.
    """
    return self._threshold()


@external
@view
def latest_round() -> uint64:
    """
    @return The last round that was accepted; the next one must be higher.
    """
    return convert(self.stream & ROUND_MASK, uint64)


@external
@view
def signers() -> DynArray[address, MAX_SIGNERS]:
    """
    @return Who may sign, in the order that `config_digest` covers.
    """
    return self.signer_list


@external
@view
def domain_separator() -> bytes32:
    """
    @return The EIP-712 domain separator of this moment.
    """
    return self._domain_separator()


@external
def add_signer(signer: address):
    """
    @notice Register one more signer. Timelocked: more signers make a quorum easier to reach.
    @param signer Who may sign from now on.
    """
    authority._only_owner()
    authority._consume(keccak256(slice(msg.data, 0, 36)))
    self._insert_signer(signer)
    self._reconfigure(self.bounds_hash)


@external
def remove_signer(signer: address):
    """
    @notice Remove a signer at once; the guardian may. Never leaves fewer than the threshold.
    @param signer Who may no longer sign.
    """
    authority._only_guardian()
    if not self.is_signer[signer]:
        refusals.refuse(refusals.SIGNER_MISSING)
    # Fewer signers than signatures would be a halt that no pause ends.
    if len(self.signer_list) <= self._threshold():
        refusals.refuse(refusals.BELOW_THRESHOLD)
    last: address = self.signer_list.pop()
    for i: uint256 in range(len(self.signer_list), bound=MAX_SIGNERS):
        if self.signer_list[i] == signer:
            self.signer_list[i] = last
    self.is_signer[signer] = False
    log SignerRemoved(signer=signer)
    self._reconfigure(self.bounds_hash)


@external
def set_threshold(threshold: uint256):
    """
    @notice Change how many signatures a message carries. Timelocked.
    @param threshold From 1 to the number of signers.
    """
    authority._only_owner()
    authority._consume(keccak256(slice(msg.data, 0, 36)))
    if threshold == 0 or threshold > len(self.signer_list):
        refusals.refuse(refusals.THRESHOLD_OUT_OF_RANGE)
    self.stream = (self.stream & ~(THRESHOLD_MASK << THRESHOLD_AT)) | (threshold << THRESHOLD_AT)
    log ThresholdChanged(threshold=threshold)
    self._reconfigure(self.bounds_hash)


@external
def set_policy_hash(policy_hash: bytes32):
    """
    @notice Change the rules for accepting models. Timelocked.
    @param policy_hash Hash of the new rules.
    """
    authority._only_owner()
    authority._consume(keccak256(slice(msg.data, 0, 36)))
    self.policy_hash = policy_hash
    log PolicyHashChanged(policy_hash=policy_hash)
    self._reconfigure(self.bounds_hash)


@internal
def _insert_signer(signer: address):
    """
    @notice Register a signer.
    @param signer Neither zero nor registered.
    """
    # ecrecover says zero for "no signer": registering it would make every broken signature valid.
    if signer == empty(address):
        refusals.refuse(refusals.ADDRESS_MISSING)
    if self.is_signer[signer]:
        refusals.refuse(refusals.SIGNER_EXISTS)
    if len(self.signer_list) == MAX_SIGNERS:
        refusals.refuse(refusals.TOO_MANY_SIGNERS)
    self.is_signer[signer] = True
    self.signer_list.append(signer)
    log SignerAdded(signer=signer)


@internal
def _reconfigure(bounds_hash: bytes32):
    """
    @notice Begin a new configuration: every message signed under the old one is void.
    @param bounds_hash Hash of the contract's bounds.
    """
    count: uint256 = self.config_count + 1
    digest: bytes32 = keccak256(
        abi_encode(count, self.signer_list, self._threshold(), bounds_hash, self.policy_hash)
    )
    self.config_count = count
    self.bounds_hash = bounds_hash
    self.config_digest = digest
    log ConfigChanged(config_count=count, config_digest=digest, bounds_hash=bounds_hash)


@internal
@view
def _domain_separator() -> bytes32:
    """
    @return The separator, made live: after a fork of the chain the old one's messages are void.
    """
    return keccak256(
        abi_encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, chain.id, self, self.config_digest)
    )


@internal
@view
def _digest(struct_hash: bytes32) -> bytes32:
    """
    @param struct_hash EIP-712 hash of the message.
    @return What the signers sign.
    """
    # 0x1901 and the two hashes, side by side
    return keccak256(slice(abi_encode(PREFIX, self._domain_separator(), struct_hash), 30, 66))


@internal
@view
def _threshold() -> uint256:
    """
    @return How many signatures a message carries, exactly.
    """
    return (self.stream >> THRESHOLD_AT) & THRESHOLD_MASK


@internal
def _next_round(round: uint64) -> uint256:
    """
    @notice Take a round number: strictly newer, at most a stated jump.
    @param round The message's.
    @return The stream's word, for what else the caller needs of it.
    """
    stream: uint256 = self.stream
    number: uint256 = convert(round, uint256)
    latest: uint256 = stream & ROUND_MASK
    if number <= latest:
        refusals.refuse(refusals.STALE_ROUND)
    # One signed message may not use up the numbers of all the later ones.
    if unsafe_sub(number, latest) > MAX_ROUND_JUMP:
        refusals.refuse(refusals.ROUND_JUMP)
    self.stream = unsafe_add(unsafe_sub(stream, latest), number)
    return stream


@internal
@view
def _verify(digest: bytes32, signatures: DynArray[bytes32, 2 * MAX_SIGNERS], stream: uint256):
    """
    @notice Refuse unless exactly k registered signers signed, in ascending order.
    @param digest What was signed.
    @param signatures k pairs (r, vs).
    @param stream The stream's word, which the caller has read.
    """
    count: uint256 = (stream >> THRESHOLD_AT) & THRESHOLD_MASK
    if len(signatures) != unsafe_mul(2, count):
        if len(signatures) < unsafe_mul(2, count):
            refusals.refuse(refusals.TOO_FEW_SIGNATURES)
        refusals.refuse(refusals.TOO_MANY_SIGNATURES)
    last: uint256 = 0
    for i: uint256 in range(count, bound=MAX_SIGNERS):
        r: uint256 = convert(signatures[unsafe_mul(2, i)], uint256)
        vs: uint256 = convert(signatures[unsafe_add(unsafe_mul(2, i), 1)], uint256)
        s: uint256 = vs & S_MASK
        # The upper half is the same signature in another form: one message, one form.
        if s > HALF_ORDER:
            refusals.refuse(refusals.MALLEABLE_SIGNATURE)
        signer: address = ecrecover(digest, unsafe_add(27, vs >> 255), r, s)
        if not self.is_signer[signer]:
            if r == 0 or s == 0:
                refusals.refuse(refusals.ZERO_SIGNATURE)
            # Zero, ecrecover's "nobody", is never registered.
            if signer == empty(address):
                refusals.refuse(refusals.UNRECOVERABLE_SIGNATURE)
            refusals.refuse(refusals.UNKNOWN_SIGNER)
        number: uint256 = convert(signer, uint256)
        if number <= last:
            if number == last:
                refusals.refuse(refusals.DUPLICATE_SIGNER)
            refusals.refuse(refusals.SIGNERS_NOT_ASCENDING)
        last = number


@internal
@view
def _fresh(observed_at: uint64, valid_until: uint64, max_age_ms: uint256, max_validity_ms: uint256) -> uint256:
    """
    @notice Refuse a message that is not of this moment.
    @param observed_at Milliseconds; what the message says was so then.
    @param valid_until Milliseconds; the message may not take effect later.
    @param max_age_ms The oldest observation that may still take effect.
    @param max_validity_ms The longest that one observation may be relied on.
    @return The observation in milliseconds since EPOCH_MS.
    """
    now_ms: uint256 = unsafe_mul(block.timestamp, 1_000)
    observed_ms: uint256 = convert(observed_at, uint256)
    until_ms: uint256 = convert(valid_until, uint256)
    if observed_ms > unsafe_add(now_ms, FUTURE_TOLERANCE_MS):
        refusals.refuse(refusals.FROM_THE_FUTURE)
    if unsafe_add(observed_ms, max_age_ms) < now_ms:
        refusals.refuse(refusals.OBSERVATION_TOO_OLD)
    if until_ms < now_ms or until_ms < observed_ms:
        refusals.refuse(refusals.EXPIRED)
    if until_ms > unsafe_add(observed_ms, max_validity_ms):
        refusals.refuse(refusals.VALIDITY_TOO_LONG)
    # Storage counts from 2010 in 40 bits: outside them an old observation would look new.
    relative: uint256 = unsafe_sub(observed_ms, EPOCH_MS)
    if unsafe_sub(relative, LARGEST_AGE_MS) >= RANGE_MS:
        refusals.refuse(refusals.OBSERVATION_OUT_OF_RANGE)
    return relative
