# pragma version 0.4.3
# pragma evm-version prague
# pragma optimize gas
"""
@title RiskOracle: signed risk parameters, one slot a market
@license Apache-2.0
@notice k of n risk signers post leverage caps, maintenance ratios, open-interest caps, size scales and
        spreads, inside bounds that only the owner widens. Nothing that an update writes enters the health of
        an open position except the maintenance ramp, which starts at the live value. The guardian stops,
        tightens and reverts; the owner resumes. Parameters that are not renewed expire: no new risk, ramps
        stand still, everything else goes on.
@custom:kill The guardian pauses EVERYTHING (liquidation for an hour at most); the owner extends it, 30 days a
             call, while traders' funds are paid out. Removing signers to the threshold and disabling all
             decision kinds leaves a contract that only expires. No funds are held here.
@dev Integers only. Slot, from the least significant bit: values 59 (cap_e2 16 | open_interest_cap 16 |
     size_scale 16 | spread 10 | reduce_only 1) | previous values 59 | frozen 1 | revertible 1 | held 1 |
     class 3 | ai_epoch 6 | drift_used 9 (0.1 %) | validity 12 (10 s) | observed_ms 40 | ramp_from_ppm 19 |
     changed_at_s 30 | ramp_s 16. Times count from 2010. The ramp's target is floor(5e7 / cap_e2) and needs no
     room. Word of an update: market 16 | cap_e2 16 | maintenance_ppm 20 | open_interest_cap 16 | size_scale 16
     | spread 10 (20 ppm) | reduce_only 1 | ramp_s 16. contracts/risk_oracle.py is the exact mirror.
"""

from contracts import authority
from contracts import halts
from contracts import quorum
from contracts import refusals
from contracts.interfaces import IRiskOracle

implements: IRiskOracle
initializes: authority
initializes: quorum[authority := authority]
initializes: halts[authority := authority, quorum := quorum]

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
    quorum.config_digest,
    quorum.config_count,
    quorum.bounds_hash,
    quorum.policy_hash,
    quorum.threshold,
    quorum.signers,
    quorum.is_signer,
    quorum.latest_round,
    quorum.domain_separator,
    quorum.add_signer,
    quorum.remove_signer,
    quorum.set_threshold,
    quorum.set_policy_hash,
    halts.pause,
    halts.resume,
    halts.disable_decision_kind,
    halts.enable_decision_kind,
    halts.controls,
    halts.ai_epoch,
    halts.ramp_stopped_at,
    halts.ramp_elapsed_s,
    halts.guardian_rests,
)

struct Parameters:
    cap_e2: uint256
    maintenance_ppm: uint256
    effective_maintenance_ppm: uint256
    floor_maintenance_ppm: uint256
    profit_share_ppm: uint256
    open_interest_cap_usdc: uint256
    size_scale_usdc: uint256
    spread_ppm: uint256
    reduce_only: bool
    frozen: bool
    held: bool
    expired: bool
    class_id: uint256
    observed_at: uint64
    valid_until: uint64
    changed_at: uint64


event RiskUpdatePosted:
    round: indexed(uint64)
    observed_at: uint64
    message_hash: bytes32
    model_hash: bytes32
    evidence_hash: bytes32
    skipped: DynArray[uint256, MAX_WORDS]

event MarketAdded:
    market: indexed(uint256)
    class_id: uint256
    word: uint256

event MarketClassChanged:
    market: indexed(uint256)
    class_id: uint256

event ClassBoundsChanged:
    class_id: indexed(uint256)
    bounds: uint256

event MarketFrozen:
    market: indexed(uint256)

event MarketUnfrozen:
    market: indexed(uint256)

event MarketReverted:
    market: indexed(uint256)
    maintenance_ppm: uint256

event MarketPaused:
    market: indexed(uint256)
    until_s: uint256
    liquidation_until_s: uint256
    by_owner: bool

event MarketResumed:
    market: indexed(uint256)

event MarketTightened:
    market: indexed(uint256)
    cap_e2: uint256
    open_interest_cap: uint256
    reduce_only: bool
    until_s: uint256

event TighteningLifted:
    market: indexed(uint256)


MAX_WORDS: constant(uint256) = 128
WORDS_BYTES: constant(uint256) = 32 * MAX_WORDS
MAX_MARKETS: constant(uint256) = 65_536
MAX_AGE_MS: constant(uint256) = 600_000  # ten minutes, in which an operator may have to approve
VALIDITY_UNIT_MS: constant(uint256) = 10_000
MAX_VALIDITY_MS: constant(uint256) = 40_950_000  # 12 bits of 10 s
MAX_DECISION_VALIDITY_MS: constant(uint256) = 600_000  # terms and actions are about a price of now
REVERT_WINDOW_S: constant(uint256) = 86_400
MIN_NOTICE_S: constant(uint256) = 300
DAY_S: constant(uint256) = 86_400
PPM: constant(uint256) = 1_000_000
HALF_PPM_E2: constant(uint256) = 50_000_000  # 1e6 ppm x 1e2 / 2: maintenance is half of initial margin
SPREAD_UNIT_PPM: constant(uint256) = 20
EPOCH_S: constant(uint256) = 1_262_304_000  # 2010-01-01T00:00:00Z, as quorum.EPOCH_MS

RISK_UPDATE_TYPEHASH: constant(bytes32) = keccak256(
    "RiskUpdate(uint64 round,uint64 observedAt,uint64 validUntil,bytes32 modelHash,bytes32 evidenceHash,uint256[] words)"
)
POSITION_TERMS_TYPEHASH: constant(bytes32) = keccak256(
    "PositionTerms(uint64 observedAt,uint64 validUntil,address account,uint16 market,int8 side,uint8 marginMode,uint8 adjustment,uint128 maxNotional,uint32 maxLeverage,uint32 maintenancePpm,uint32 maintenanceCeilingPpm,uint32 riskScore,uint64 nonce,bytes32 modelHash,bytes32 evidenceHash)"
)
POSITION_ACTION_TYPEHASH: constant(bytes32) = keccak256(
    "PositionAction(uint64 observedAt,uint64 validUntil,uint256 positionId,uint64 positionVersion,uint8 kind,uint32 maintenancePpm,uint128 maxSize,uint128 priceBound,bytes32 modelHash,bytes32 evidenceHash)"
)

# bits of a word
WORD_BITS: constant(uint256) = 111
LIMIT_MASK: constant(uint256) = 2**65 - 1
REST_AT: constant(uint256) = 129
BITS_6: constant(uint256) = 2**6 - 1
BITS_9: constant(uint256) = 2**9 - 1
BITS_10: constant(uint256) = 2**10 - 1
BITS_12: constant(uint256) = 2**12 - 1
BITS_16: constant(uint256) = 2**16 - 1
BITS_17: constant(uint256) = 2**17 - 1
BITS_19: constant(uint256) = 2**19 - 1
BITS_20: constant(uint256) = 2**20 - 1
BITS_30: constant(uint256) = 2**30 - 1
BITS_32: constant(uint256) = 2**32 - 1
BITS_40: constant(uint256) = 2**40 - 1
BITS_43: constant(uint256) = 2**43 - 1

# bits of a slot
VALUES_MASK: constant(uint256) = 2**59 - 1
REDUCE_ONLY_BIT: constant(uint256) = 1 << 58
FROZEN_BIT: constant(uint256) = 1 << 118
REVERTIBLE_BIT: constant(uint256) = 1 << 119
HELD_BIT: constant(uint256) = 1 << 120
CLASS_AT: constant(uint256) = 121
EPOCH_AT: constant(uint256) = 124
DRIFT_AT: constant(uint256) = 130
VALIDITY_AT: constant(uint256) = 139
OBSERVED_AT: constant(uint256) = 151
FROM_AT: constant(uint256) = 191
CHANGED_AT: constant(uint256) = 210
RAMP_AT: constant(uint256) = 240
# ai_epoch, validity, observed_ms: what every accepted item replaces
STAMP_MASK: constant(uint256) = (BITS_6 << 124) | (BITS_12 << 139) | (BITS_40 << 151)
RENEWAL_KEEPS: constant(uint256) = ~(STAMP_MASK | (BITS_30 << 210))
STILL_BITS: constant(uint256) = FROZEN_BIT | HELD_BIT
# in a set of changed bits: an update asks for a new ramp after a revert; and what begins a new ramp
RESTART_BIT: constant(uint256) = 1 << 59
NEW_RAMP_BITS: constant(uint256) = RESTART_BIT | BITS_16
# what an accepted change keeps: frozen and class
KEPT_MASK: constant(uint256) = FROZEN_BIT | (7 << 121)

# bits of a class's bounds; a bound of a value stands where the value stands in a word, max_validity where the
# validity stands in a slot, so that they compare without moving:
# min_cap_e2 16 | max_cap_e2 16 | floor_maintenance_ppm 20 | max_open_interest_cap 16 | min_size_scale 16 |
# max_spread 10 | 0 1 | notice_s 16 | profit_share_ppm 20 | min_step_spread 6 | 0 2 | max_validity 12 |
# tighten_ppm 20 | loosen_ppm 20 | min_step_cap_e2 10 | min_step_amount 16 | loosen_delay_s 17 | daily_drift 10
BOUNDS_BITS: constant(uint256) = 244
BOUNDS_GAPS: constant(uint256) = (1 << 94) | (3 << 137)
CAP_FIELD: constant(uint256) = BITS_16 << 16
OPEN_INTEREST_FIELD: constant(uint256) = BITS_16 << 52
SCALE_FIELD: constant(uint256) = BITS_16 << 68
SPREAD_FIELD: constant(uint256) = BITS_10 << 84
RAMP_FIELD: constant(uint256) = BITS_16 << 95
VALIDITY_FIELD: constant(uint256) = BITS_12 << 139
WORD_FIELDS: constant(uint256) = CAP_FIELD | OPEN_INTEREST_FIELD | SPREAD_FIELD
UPPER_FIELDS: constant(uint256) = WORD_FIELDS | VALIDITY_FIELD
UPPER_GUARDS: constant(uint256) = (1 << 32) | (1 << 68) | (1 << 94) | (1 << 151)
# both amounts have their mantissa's top bit, the size scale's exponent is not all ones, no ramp, nothing above
USUAL_AMOUNTS: constant(uint256) = (1 << 62) | (1 << 78)
USUAL_BITS: constant(uint256) = USUAL_AMOUNTS | (1 << 83) | ~((1 << 95) - 1)
EPOCH_FIELD: constant(uint256) = BITS_6 << 124

LIMIT_REDUCE_ONLY_BIT: constant(uint256) = 1 << 128  # in the guardian's word

# permissions
MAY_OPEN: constant(uint256) = 1
MAY_CLOSE: constant(uint256) = 2
MAY_LIQUIDATE: constant(uint256) = 4
MAY_WITHDRAW: constant(uint256) = 8
MAY_DECIDE: constant(uint256) = 16
HIGHEST_AT: constant(uint256) = 248
ALL_BUT_OPEN: constant(uint256) = MAY_CLOSE | MAY_LIQUIDATE | MAY_WITHDRAW | MAY_DECIDE
MARGIN_HALTED: constant(uint256) = 1 << 8  # in the word of `margin`, above the permissions

market_count: public(uint256)
class_bounds: uint256[8]
markets: uint256[MAX_MARKETS]
# the guardian's word a market: pause_until 32 | liquidation_until 32 | limit_until 32 | limit_cap_e2 16 |
# limit_open_interest 16 | limit_reduce_only 1 | guardian_rest_until 32. Apart from the slot, so that it never touches a signed value.
guarded: uint256[MAX_MARKETS]


@deploy
def __init__(
    owner: address,
    guardian: address,
    timelock_s: uint256,
    signers: DynArray[address, 16],
    threshold: uint256,
    policy_hash: bytes32,
):
    """
    @param owner Who owns the contract from the start.
    @param guardian Who may stop, tighten and revert.
    @param timelock_s Seconds that a scheduled operation waits once launched.
    @param signers The risk signers.
    @param threshold How many of them sign a message, exactly.
    @param policy_hash Hash of the rules for accepting models.
    """
    authority.__init__(owner, guardian, timelock_s)
    quorum.__init__(signers, threshold, policy_hash)
    quorum._reconfigure(self._bounds_hash())


@external
def post_update(
    round: uint64,
    observed_at: uint64,
    valid_until: uint64,
    model_hash: bytes32,
    evidence_hash: bytes32,
    words: Bytes[WORDS_BYTES],
    signatures: DynArray[bytes32, 32],
):
    """
    @notice Post signed parameters. A bad item is skipped with its reason in the event, the rest lands.
    @param round Strictly newer than the last, at most 2**32 ahead.
    @param observed_at Milliseconds; when the markets were as the decision assumes.
    @param valid_until Milliseconds; the parameters expire then, rounded down to 10 s after the observation.
    @param model_hash The model that decided.
    @param evidence_hash Names what the decision was made from.
    @param words One market each, 32 bytes each, side by side as the digest hashes them.
    @param signatures Exactly k pairs (r, vs), signers ascending.
    """
    stream: uint256 = quorum._next_round(round)
    # An empty update would cost its number and say nothing; part of a word is no word.
    if len(words) == 0 or len(words) & 31 != 0:
        refusals.refuse(refusals.NO_WHOLE_WORDS)
    message_hash: bytes32 = quorum._digest(
        keccak256(
            abi_encode(
                RISK_UPDATE_TYPEHASH,
                round,
                observed_at,
                valid_until,
                model_hash,
                evidence_hash,
                keccak256(words),
            )
        )
    )
    quorum._verify(message_hash, signatures, stream)
    at_ms: uint256 = quorum._fresh(observed_at, valid_until, MAX_AGE_MS, MAX_VALIDITY_MS)
    validity: uint256 = unsafe_div(
        unsafe_sub(convert(valid_until, uint256), convert(observed_at, uint256)), VALIDITY_UNIT_MS
    )
    # Stored as expired, it would stop ramps in the past: positions' maintenance would jump in this block.
    if unsafe_add(
        unsafe_add(at_ms, quorum.EPOCH_MS), unsafe_mul(validity, VALIDITY_UNIT_MS)
    ) < unsafe_mul(block.timestamp, 1_000):
        refusals.refuse(refusals.EXPIRED)
    halts._accepting(stream, halts.KIND_RISK_UPDATE)
    stamp: uint256 = (
        (((stream >> halts.EPOCH_AT) & BITS_6) << EPOCH_AT)
        | (validity << VALIDITY_AT)
        | (at_ms << OBSERVED_AT)
    )
    skipped: DynArray[uint256, MAX_WORDS] = []
    for i: uint256 in range(len(words) >> 5, bound=MAX_WORDS):
        word: uint256 = extract32(words, i << 5, output_type=uint256)
        code: uint256 = self._apply(word, stamp)
        if code != 0:
            skipped.append(((word & BITS_16) << 16) | code)
    log RiskUpdatePosted(
        round=round,
        observed_at=observed_at,
        message_hash=message_hash,
        model_hash=model_hash,
        evidence_hash=evidence_hash,
        skipped=skipped,
    )


@external
def add_market(market: uint256, class_id: uint256, word: uint256):
    """
    @notice Add the next market with the owner's first values, expired: no new risk before a signed update.
            Timelocked.
    @param market Its id: the number of markets so far. Asked for, so that two adds cannot change places.
    @param class_id Whose bounds it follows.
    @param word Its first values, as in an update; ramp_s is not used.
    """
    authority._only_owner()
    authority._consume(keccak256(slice(msg.data, 0, 100)))
    if market != self.market_count or word & BITS_16 != market:
        refusals.refuse(refusals.MARKET_OUT_OF_ORDER)
    self._known_class(class_id)
    code: uint256 = self._misfit(word, self.class_bounds[class_id])
    if code != 0:
        refusals.refuse(code)
    self.market_count = market + 1
    values: uint256 = ((word >> 16) & BITS_16) | (((word >> 52) & BITS_43) << 16)
    self.markets[market] = (
        values
        | (values << 59)
        | (class_id << CLASS_AT)
        | (((quorum.stream >> halts.EPOCH_AT) & BITS_6) << EPOCH_AT)
        | ((HALF_PPM_E2 // (values & BITS_16)) << FROM_AT)
        | ((block.timestamp - EPOCH_S) << CHANGED_AT)
    )
    log MarketAdded(market=market, class_id=class_id, word=word)


@external
def set_market_class(market: uint256, class_id: uint256):
    """
    @notice Move a market to another class; its values stay. Timelocked; voids what is signed.
    @param market Its id.
    @param class_id Whose bounds it follows from now on.
    """
    authority._only_owner()
    authority._consume(keccak256(slice(msg.data, 0, 68)))
    stored: uint256 = self._slot(market)
    self._known_class(class_id)
    self.markets[market] = (stored & ~(7 << CLASS_AT)) | (class_id << CLASS_AT)
    log MarketClassChanged(market=market, class_id=class_id)
    quorum._reconfigure(self._bounds_hash())


@external
def set_class(class_id: uint256, bounds: uint256):
    """
    @notice Set the bounds of a class. Timelocked; voids what is signed.
    @param class_id 1 to 7; 0 is what an unknown market has.
    @param bounds Packed; the layout stands in the contract's constants.
    """
    authority._only_owner()
    authority._consume(keccak256(slice(msg.data, 0, 68)))
    if class_id == 0 or class_id > 7:
        refusals.refuse(refusals.UNKNOWN_CLASS)
    if not self._sound(bounds):
        refusals.refuse(refusals.CLASS_RULES_INVALID)
    self.class_bounds[class_id] = bounds
    log ClassBoundsChanged(class_id=class_id, bounds=bounds)
    quorum._reconfigure(self._bounds_hash())


@external
def freeze_market(market: uint256):
    """
    @notice Let a market's values no longer move; renewals still land. Guardian; only the owner undoes it.
    @param market Its id.
    """
    authority._only_guardian()
    self.markets[market] = self._slot(market) | FROZEN_BIT
    log MarketFrozen(market=market)


@external
def unfreeze_market(market: uint256):
    """
    @notice Let a market's values move again. Owner.
    @param market Its id.
    """
    authority._only_owner()
    self.markets[market] = self._slot(market) & ~FROZEN_BIT
    log MarketUnfrozen(market=market)


@external
def revert_market(market: uint256):
    """
    @notice Undo a market's last accepted change, toward safety only. Guardian, once a change, within a day.
            For new risk the tighter of live and previous values; for open positions the lower of live and
            earlier maintenance, and the ramp is cancelled until the cap changes or an update asks for a ramp.
    @dev Writes the values: a flag over them would let the next small update undo the guardian at once.
    @param market Its id.
    """
    authority._only_guardian()
    stored: uint256 = self._slot(market)
    if stored & REVERTIBLE_BIT == 0:
        refusals.refuse(refusals.NOT_REVERTIBLE)
    now_s: uint256 = block.timestamp - EPOCH_S
    # Later than this the market has lived with the values: an ordinary update mends them.
    if now_s > ((stored >> CHANGED_AT) & BITS_30) + REVERT_WINDOW_S:
        refusals.refuse(refusals.REVERT_WINDOW_CLOSED)
    maintenance: uint256 = min(
        self._effective(stored, self._elapsed(stored, now_s, quorum.stream)),
        # A pause begins the ramp anew: what was promised before the change stands in the previous cap.
        min((stored >> FROM_AT) & BITS_19, HALF_PPM_E2 // ((stored >> 59) & BITS_16)),
    )
    values: uint256 = self._tighter(stored & VALUES_MASK, (stored >> 59) & VALUES_MASK)
    self.markets[market] = (
        values
        | (values << 59)
        | (stored & KEPT_MASK)
        | (stored & STAMP_MASK)
        | (stored & (BITS_9 << DRIFT_AT))
        | HELD_BIT
        | (maintenance << FROM_AT)
        | (max(now_s, (stored >> CHANGED_AT) & BITS_30) << CHANGED_AT)
    )
    log MarketReverted(market=market, maintenance_ppm=maintenance)


@external
def pause_market(market: uint256, duration_s: uint256):
    """
    @notice Stop opening, closing and withdrawing in one market, and liquidation as far as the guardian's hour
            reaches. Its ramp stands still until the pause's announced end. Guardian or owner, as for `pause`.
    @param market Its id.
    @param duration_s From now.
    """
    by_owner: bool = authority._only_guardian()
    stored: uint256 = self._slot(market)
    until_s: uint256 = halts._pause_end(duration_s, by_owner)
    word: uint256 = self.guarded[market]
    # As for the other scopes: the guardian may not make a pause last by starting it over and over.
    if not by_owner and word & BITS_32 > block.timestamp:
        refusals.refuse(refusals.PAUSE_ALREADY_RUNNING)
    if not by_owner and word >> REST_AT > block.timestamp:
        refusals.refuse(refusals.PAUSE_TOO_SOON)
    liquidation_until_s: uint256 = 0
    liquidation_until_s, halts.word = halts._liquidation_end(halts.word, until_s, by_owner)
    kept: uint256 = LIMIT_MASK << 64
    # Stopping nothing of liquidation, it leaves standing when liquidation was last stopped.
    if liquidation_until_s == 0:
        kept |= BITS_32 << 32
    self.guarded[market] = (
        (word & kept)
        | (halts._rest_end(duration_s, by_owner) << REST_AT)
        | (liquidation_until_s << 32)
        | until_s
    )
    # Nobody may be carried toward liquidation by a ramp while he cannot close.
    self.markets[market] = self._stand_still(stored, until_s - EPOCH_S)
    log MarketPaused(
        market=market,
        until_s=until_s,
        liquidation_until_s=liquidation_until_s,
        by_owner=by_owner,
    )


@external
def resume_market(market: uint256):
    """
    @notice End a market's pause at once; its ramp goes on when it was announced to. Owner; also gives the
            guardian its liquidation budget back, and lets it pause the market.
    @param market Its id.
    """
    authority._only_owner()
    self._slot(market)
    # Of liquidation the end is kept: who could not act in the pause is given time after it.
    self.guarded[market] = halts._end_now(self.guarded[market], 32) & ((LIMIT_MASK << 64) | (BITS_32 << 32))
    halts.word = halts._put(halts.word, halts.BUDGET_AT, halts.TIME_MASK, 0)
    log MarketResumed(market=market)


@external
def tighten_market(
    market: uint256, cap_e2: uint256, open_interest_cap: uint256, reduce_only: bool, duration_s: uint256
):
    """
    @notice Limit new risk below the signed values, for a while. Open positions do not feel it. Guardian, at
            most a day, and never looser than a limit of its own that still runs; owner, any tighter or looser.
    @param market Its id.
    @param cap_e2 Highest leverage for new positions.
    @param open_interest_cap Highest open interest, as 16 bits (mantissa 11 | exponent 5).
    @param reduce_only Whether nothing may be opened.
    @param duration_s From now.
    """
    by_owner: bool = authority._only_guardian()
    self._slot(market)
    until_s: uint256 = halts._pause_end(duration_s, by_owner)
    word: uint256 = self.guarded[market]
    limit: uint256 = (word >> 64) & LIMIT_MASK
    # cap 0 would have no maintenance ratio; reduce_only says "nothing may be opened".
    if cap_e2 < 100 or cap_e2 > BITS_16 or not self._canonical_amount(open_interest_cap):
        refusals.refuse(refusals.NOT_CANONICAL)
    # One way for the guardian: what it tightened only the owner loosens before its time.
    if not by_owner and limit & BITS_32 > block.timestamp and (
        cap_e2 > (limit >> 32) & BITS_16
        or open_interest_cap > (limit >> 48) & BITS_16
        or convert(reduce_only, uint256) < limit >> 64
    ):
        refusals.refuse(refusals.LIMIT_NOT_TIGHTER)
    # A limit that ends later, as the owner's may, goes on until then.
    if not by_owner:
        until_s = max(until_s, limit & BITS_32)
    limit = until_s | (cap_e2 << 32) | (open_interest_cap << 48) | (convert(reduce_only, uint256) << 64)
    self.guarded[market] = (word & ~(LIMIT_MASK << 64)) | (limit << 64)
    log MarketTightened(
        market=market,
        cap_e2=cap_e2,
        open_interest_cap=open_interest_cap,
        reduce_only=reduce_only,
        until_s=until_s,
    )


@external
def lift_tightening(market: uint256):
    """
    @notice End the guardian's limit at once. Owner.
    @param market Its id.
    """
    authority._only_owner()
    self._slot(market)
    self.guarded[market] &= ~(LIMIT_MASK << 64)
    log TighteningLifted(market=market)


@external
@view
def verify_position_terms(terms: IRiskOracle.PositionTerms, signatures: DynArray[bytes32, 32]) -> bytes32:
    """
    @notice For the engine: refuse terms that are not signed by the quorum, not of this moment, or not accepted
            now. Nonce, account and market are the engine's to check.
    @param terms What the trader brings.
    @param signatures Exactly k pairs (r, vs), signers ascending.
    @return What was signed.
    """
    digest: bytes32 = quorum._digest(self._terms_hash(terms))
    stream: uint256 = quorum.stream
    quorum._verify(digest, signatures, stream)
    quorum._fresh(terms.observed_at, terms.valid_until, MAX_AGE_MS, MAX_DECISION_VALIDITY_MS)
    halts._accepting(stream, halts.KIND_POSITION_TERMS)
    return digest


@external
@view
def verify_position_action(action: IRiskOracle.PositionAction, signatures: DynArray[bytes32, 32]) -> bytes32:
    """
    @notice For the engine: refuse an action that is not signed by the quorum, not of this moment, or not
            accepted now. Position, version and trigger are the engine's to check.
    @param action What somebody brings.
    @param signatures Exactly k pairs (r, vs), signers ascending.
    @return What was signed.
    """
    if action.kind == 0 or action.kind > 3:
        refusals.refuse(refusals.UNKNOWN_DECISION_KIND)
    digest: bytes32 = quorum._digest(self._action_hash(action))
    stream: uint256 = quorum.stream
    quorum._verify(digest, signatures, stream)
    quorum._fresh(action.observed_at, action.valid_until, MAX_AGE_MS, MAX_DECISION_VALIDITY_MS)
    halts._accepting(stream, convert(action.kind, uint256) + halts.KIND_POSITION_TERMS)
    return digest


@external
@view
def digest_risk_update(
    round: uint64,
    observed_at: uint64,
    valid_until: uint64,
    model_hash: bytes32,
    evidence_hash: bytes32,
    words: Bytes[WORDS_BYTES],
) -> bytes32:
    """
    @notice What the signers sign for this update in the present configuration.
    """
    return quorum._digest(
        keccak256(
            abi_encode(
                RISK_UPDATE_TYPEHASH,
                round,
                observed_at,
                valid_until,
                model_hash,
                evidence_hash,
                keccak256(words),
            )
        )
    )


@external
@view
def digest_position_terms(terms: IRiskOracle.PositionTerms) -> bytes32:
    """
    @notice What the signers sign for these terms in the present configuration.
    """
    return quorum._digest(self._terms_hash(terms))


@external
@view
def digest_position_action(action: IRiskOracle.PositionAction) -> bytes32:
    """
    @notice What the signers sign for this action in the present configuration.
    """
    return quorum._digest(self._action_hash(action))


@external
@view
def parameters(market: uint256) -> Parameters:
    """
    @notice A market's parameters as they count at this moment: for new risk the tighter of what is signed and
            what the guardian limits.
    @param market Its id.
    """
    stored: uint256 = self._slot(market)
    limits: uint256 = self.class_bounds[(stored >> CLASS_AT) & 7]
    guarded: uint256 = self.guarded[market]
    values: uint256 = stored & VALUES_MASK
    if (guarded >> 64) & BITS_32 > block.timestamp:
        values = self._limited(stored, guarded)
    cap_e2: uint256 = values & BITS_16
    observed_ms: uint256 = (stored >> OBSERVED_AT) & BITS_40
    expiry_ms: uint256 = observed_ms + ((stored >> VALIDITY_AT) & BITS_12) * VALIDITY_UNIT_MS
    return Parameters(
        cap_e2=cap_e2,
        maintenance_ppm=HALF_PPM_E2 // cap_e2,
        effective_maintenance_ppm=self._effective(
            stored, self._elapsed(stored, block.timestamp - EPOCH_S, quorum.stream)
        ),
        floor_maintenance_ppm=(limits >> 32) & BITS_20,
        profit_share_ppm=(limits >> 111) & BITS_20,
        open_interest_cap_usdc=self._amount((values >> 16) & BITS_16),
        size_scale_usdc=self._amount((values >> 32) & BITS_16),
        spread_ppm=((values >> 48) & BITS_10) * SPREAD_UNIT_PPM,
        reduce_only=values & REDUCE_ONLY_BIT != 0,
        frozen=stored & FROZEN_BIT != 0,
        held=stored & HELD_BIT != 0,
        expired=self._expired(stored),
        class_id=(stored >> CLASS_AT) & 7,
        observed_at=convert(observed_ms + quorum.EPOCH_MS, uint64),
        valid_until=convert(expiry_ms + quorum.EPOCH_MS, uint64),
        changed_at=convert(((stored >> CHANGED_AT) & BITS_30) + EPOCH_S, uint64),
    )


@external
@view
def permissions(market: uint256) -> uint256:
    """
    @notice What may be done in a market now. Adding margin is never paused and has no bit.
    @param market Its id.
    @return 1 open | 2 close | 4 liquidate | 8 withdraw | 16 accept position terms and actions.
    """
    stored: uint256 = self._slot(market)
    return self._permissions(stored, self.guarded[market], halts.word, quorum.stream, self._expired(stored))


@external
@view
def margin(market: uint256) -> uint256:
    """
    @notice For the engine: what `permissions` and `parameters` say of a market now, in one word.
    @param market Its id.
    @return permissions 8 | halted 1 (frozen, or the market itself paused) | 0 7 | effective_maintenance_ppm 20 |
            cap_e2 16 | floor_maintenance_ppm 20 | profit_share_ppm 20 | spread_ppm 20 | open_interest_cap_usdc 48 |
            size_scale_usdc 48.
    @dev Unchecked arithmetic: every term is a bit field. Written out, because a call costs as much as a check.
    """
    stored: uint256 = self._slot(market)
    guarded: uint256 = self.guarded[market]
    stream: uint256 = quorum.stream
    limits: uint256 = self.class_bounds[(stored >> CLASS_AT) & 7]
    values: uint256 = stored
    if (guarded >> 64) & BITS_32 > block.timestamp:
        values = self._limited(stored, guarded)
    now_s: uint256 = unsafe_sub(block.timestamp, EPOCH_S)
    # As in _expired.
    expired: bool = unsafe_add(
        (stored >> OBSERVED_AT) & BITS_40, unsafe_mul((stored >> VALIDITY_AT) & BITS_12, VALIDITY_UNIT_MS)
    ) < unsafe_mul(now_s, 1_000)
    # How long the ramp has run: until now, unless it stood still before; as in _apply.
    elapsed: uint256 = 0
    if convert(expired, uint256) | (((stored >> EPOCH_AT) ^ (stream >> halts.EPOCH_AT)) & BITS_6) != 0:
        elapsed = self._elapsed(stored, now_s, stream)
    elif now_s > (stored >> CHANGED_AT) & BITS_30:
        elapsed = unsafe_sub(now_s, (stored >> CHANGED_AT) & BITS_30)
    found: uint256 = self._permissions(stored, guarded, halts.word, stream, expired)
    if (stored & FROZEN_BIT) | convert(guarded & BITS_32 > block.timestamp, uint256) != 0:
        found |= MARGIN_HALTED
    # Amounts and bounds go to their places in one move each.
    return (
        found
        | (self._effective(stored, elapsed) << 16)
        | ((values & BITS_16) << 36)
        | ((limits << 20) & (BITS_20 << 52))
        | ((limits >> 39) & (BITS_20 << 72))
        | (unsafe_mul((values >> 48) & BITS_10, SPREAD_UNIT_PPM) << 92)
        | (((values >> 16) & 2_047) << unsafe_add((values >> 27) & 31, 112))
        | (((values >> 32) & 2_047) << unsafe_add((values >> 43) & 31, 160))
    )


@external
@view
def liquidation_resumes_at(market: uint256) -> uint256:
    """
    @notice When the latest pause of liquidation in a market ends, or ended: the engine counts its grace from there.
    @param market Its id.
    @return Unix seconds; liquidation is paused while this is later than now. 0 when it never was.
    """
    self._slot(market)
    controls: uint256 = halts.word
    return max(
        max((controls >> 96) & BITS_32, (controls >> 160) & BITS_32),
        (self.guarded[market] >> 32) & BITS_32,
    )


@external
@view
def withdrawals_open() -> bool:
    """
    @return Whether neither withdrawals nor everything is paused. A market's own pause is not asked.
    """
    controls: uint256 = halts.word
    return (controls >> 64) & BITS_32 <= block.timestamp and (controls >> 128) & BITS_32 <= block.timestamp


@external
@view
def bounds(class_id: uint256) -> uint256:
    """
    @param class_id 1 to 7.
    @return The class's packed bounds, 0 when there are none.
    """
    return self.class_bounds[class_id]


@external
@view
def slots(first: uint256, count: uint256) -> DynArray[uint256, 256]:
    """
    @notice Raw slots, for readers that decode them.
    @param first The first market.
    @param count At most 256.
    """
    words: DynArray[uint256, 256] = []
    for i: uint256 in range(count, bound=256):
        words.append(self.markets[first + i])
    return words


@external
@view
def guards(first: uint256, count: uint256) -> DynArray[uint256, 256]:
    """
    @notice The guardian's raw words, for readers that decode them.
    @param first The first market.
    @param count At most 256.
    """
    words: DynArray[uint256, 256] = []
    for i: uint256 in range(count, bound=256):
        words.append(self.guarded[first + i])
    return words


@internal
def _apply(word: uint256, stamp: uint256) -> uint256:
    """
    @notice Judge one market's item and store what it makes of the market. Constant work, no calls outside.
    @param word The item.
    @param stamp The batch's ai_epoch, validity and observed_ms, at their places in the slot.
    @return 0, or why the item is skipped.
    @dev Unchecked arithmetic: every factor is a bit field. Written out, because a call costs as much as a check.
    """
    stored: uint256 = self.markets[word & BITS_16]
    if stored == 0:
        return refusals.UNKNOWN_MARKET
    limits: uint256 = self.class_bounds[(stored >> CLASS_AT) & 7]
    observed_ms: uint256 = (stored >> OBSERVED_AT) & BITS_40
    if stamp >> OBSERVED_AT <= observed_ms:
        return refusals.OLDER_OBSERVATION
    cap_e2: uint256 = (word >> 16) & BITS_16
    # The usual item passes at once; any other is judged guard by guard. Fields are subtracted side by side,
    # each under a guard bit of its own that it may not borrow.
    if (
        (
            UPPER_GUARDS
            ^ (
                unsafe_sub(
                    (limits & UPPER_FIELDS) | UPPER_GUARDS,
                    (word & WORD_FIELDS) | (stamp & VALIDITY_FIELD),
                )
                & UPPER_GUARDS
            )
        )
        | ((word & USUAL_BITS) ^ USUAL_AMOUNTS)
        | convert(word & SCALE_FIELD < limits & SCALE_FIELD, uint256)
        | convert(cap_e2 < limits & BITS_16, uint256)
        | convert(
            unsafe_sub(HALF_PPM_E2, unsafe_mul(cap_e2, (word >> 32) & BITS_20)) >= cap_e2, uint256
        )
        != 0
    ):
        if stamp & VALIDITY_FIELD > limits & VALIDITY_FIELD:
            return refusals.CLASS_VALIDITY_TOO_LONG
        code: uint256 = self._misfit(word, limits)
        if code != 0:
            return code
    values: uint256 = cap_e2 | (((word >> 52) & BITS_43) << 16)
    changed: uint256 = (values ^ stored) & VALUES_MASK
    now_s: uint256 = unsafe_sub(block.timestamp, EPOCH_S)
    start_s: uint256 = (stored >> CHANGED_AT) & BITS_30
    since_s: uint256 = 0
    if now_s > start_s:
        since_s = unsafe_sub(now_s, start_s)
    # How long the ramp has run: until now, unless it stood still before.
    elapsed: uint256 = since_s
    if (
        ((stored ^ stamp) & EPOCH_FIELD)
        | convert(
            unsafe_mul(now_s, 1_000)
            > unsafe_add(observed_ms, unsafe_mul((stored >> VALIDITY_AT) & BITS_12, VALIDITY_UNIT_MS)),
            uint256,
        )
        != 0
    ):
        elapsed = self._elapsed(stored, now_s, quorum.stream)
    if stored & STILL_BITS != 0:
        # After a revert the ramp stays cancelled until the cap changes or an update asks for a ramp.
        if stored & HELD_BIT != 0 and word >> 95 != 0:
            changed |= RESTART_BIT
        # Frozen is a flag beside the values: they may not move, and are not forgotten.
        if stored & FROZEN_BIT != 0 and changed != 0:
            return refusals.MARKET_FROZEN
    if changed == 0:
        # A renewal. A ramp that stood still goes on from where it stopped: its start moves, not its value.
        if elapsed != since_s and elapsed < stored >> RAMP_AT:
            start_s = unsafe_sub(now_s, elapsed)
        self.markets[word & BITS_16] = (stored & RENEWAL_KEEPS) | stamp | (start_s << CHANGED_AT)
        return 0

    # Every moved field takes a step from its last accepted value: relative, in ppm rounded down, or absolute
    # where that is more. `charge`: the largest loosening, 0 when nothing loosens. No `old` is 0 but a
    # spread's, which cannot loosen.
    charge: uint256 = (changed & stored & VALUES_MASK) >> 58
    tighten_ppm: uint256 = (limits >> 151) & BITS_20
    step: uint256 = 0
    old: uint256 = stored & BITS_16
    if cap_e2 > old:
        charge = unsafe_div(unsafe_mul(unsafe_sub(cap_e2, old), PPM), old)
    elif cap_e2 < old:
        if unsafe_div(unsafe_mul(unsafe_sub(old, cap_e2), PPM), old) > tighten_ppm:
            # Out of bounds that were narrowed since, one step may go as far as it must: the ramp protects who is in.
            if unsafe_sub(old, cap_e2) > (limits >> 191) & BITS_10 and old <= (limits >> 16) & BITS_16:
                return refusals.CAP_STEP_TOO_LARGE
    old = ((stored >> 16) & 2_047) << ((stored >> 27) & 31)
    new: uint256 = ((values >> 16) & 2_047) << ((values >> 27) & 31)
    if new > old:
        step = unsafe_div(unsafe_mul(unsafe_sub(new, old), PPM), old)
        if step > charge:
            charge = step
    elif new < old:
        if unsafe_div(unsafe_mul(unsafe_sub(old, new), PPM), old) > tighten_ppm:
            # Out of bounds that were narrowed since, one step may go as far as it must.
            if unsafe_sub(old, new) > self._least_amount(limits) and (
                (stored >> 16) & BITS_16 <= (limits >> 52) & BITS_16
            ):
                return refusals.OPEN_INTEREST_CAP_STEP_TOO_LARGE
    old = ((stored >> 32) & 2_047) << ((stored >> 43) & 31)
    new = ((values >> 32) & 2_047) << ((values >> 43) & 31)
    if new > old:
        step = unsafe_div(unsafe_mul(unsafe_sub(new, old), PPM), old)
        if step > charge:
            charge = step
    elif new < old:
        if unsafe_div(unsafe_mul(unsafe_sub(old, new), PPM), old) > tighten_ppm:
            if unsafe_sub(old, new) > self._least_amount(limits):
                return refusals.SIZE_SCALE_STEP_TOO_LARGE
    old = (stored >> 48) & BITS_10
    new = (values >> 48) & BITS_10
    if new < old:
        step = unsafe_div(unsafe_mul(unsafe_sub(old, new), PPM), old)
        if step > charge:
            charge = step
    elif new > old:
        if old == 0 or unsafe_div(unsafe_mul(unsafe_sub(new, old), PPM), old) > tighten_ppm:
            if unsafe_sub(new, old) > (limits >> 131) & BITS_6:
                return refusals.SPREAD_STEP_TOO_LARGE
    if charge > (limits >> 171) & BITS_20:
        step = self._leap(stored, values, limits)
        if step != 0:
            return step
        # What only the absolute minimum allows counts as one whole relative step.
        charge = (limits >> 171) & BITS_20

    # Drift: the bucket holds half of the day's budget and empties at half a budget a day, so that in any 24
    # hours at most the whole budget goes in. Emptying is rounded down, a charge up to more than itself.
    drift: uint256 = (stored >> DRIFT_AT) & BITS_9
    if drift != 0:
        emptied: uint256 = unsafe_div(unsafe_mul(since_s, limits >> 235), DAY_S)
        if drift > emptied:
            drift = unsafe_sub(drift, emptied)
        else:
            drift = 0
    if charge != 0:
        # Tightened at once, loosened slowly: a wrong loosening has this long to be noticed.
        if since_s < (limits >> 217) & BITS_17:
            return refusals.TOO_SOON
        drift = unsafe_add(unsafe_add(drift, 1), unsafe_div(charge, 1_000))
        if drift > limits >> 235:
            return refusals.DRIFT_SPENT

    # The ramp begins at the live value, so no position's health changes in this block.
    live_ppm: uint256 = unsafe_div(HALF_PPM_E2, stored & BITS_16)
    ramp_s: uint256 = stored >> RAMP_AT
    if elapsed < ramp_s:
        # As in _effective.
        old = (stored >> FROM_AT) & BITS_19
        if live_ppm > old:
            live_ppm = unsafe_add(old, unsafe_div(unsafe_mul(unsafe_sub(live_ppm, old), elapsed), ramp_s))
        else:
            live_ppm = unsafe_sub(old, unsafe_div(unsafe_mul(unsafe_sub(old, live_ppm), elapsed), ramp_s))
        ramp_s = unsafe_sub(ramp_s, elapsed)
    else:
        ramp_s = 0
        if stored & HELD_BIT != 0:
            live_ppm = (stored >> FROM_AT) & BITS_19
    flags: uint256 = REVERTIBLE_BIT
    if changed & NEW_RAMP_BITS != 0:
        ramp_s = word >> 95
        if ramp_s == 0:
            ramp_s = (limits >> 95) & BITS_16
    else:
        # Another field moved: the ramp goes on to the same target, in the time it had left.
        flags = REVERTIBLE_BIT | (stored & HELD_BIT)
    self.markets[word & BITS_16] = (
        values
        | ((stored & VALUES_MASK) << 59)
        | (stored & KEPT_MASK)
        | flags
        | stamp
        | (drift << DRIFT_AT)
        | (live_ppm << FROM_AT)
        | (unsafe_add(start_s, since_s) << CHANGED_AT)
        | (ramp_s << RAMP_AT)
    )
    return 0


@internal
@pure
def _leap(stored: uint256, values: uint256, limits: uint256) -> uint256:
    """
    @notice Judge a change in which some field loosens by more than the relative step.
    @return 0 when each such field stays within its absolute minimum step, or the first one's refusal.
    """
    loosen_ppm: uint256 = (limits >> 171) & BITS_20
    old: uint256 = stored & BITS_16
    new: uint256 = values & BITS_16
    if new > old and self._beyond(old, unsafe_sub(new, old), loosen_ppm, (limits >> 191) & BITS_10):
        return refusals.CAP_STEP_TOO_LARGE
    old = self._amount((stored >> 16) & BITS_16)
    new = self._amount((values >> 16) & BITS_16)
    if new > old and self._beyond(old, unsafe_sub(new, old), loosen_ppm, self._least_amount(limits)):
        return refusals.OPEN_INTEREST_CAP_STEP_TOO_LARGE
    old = self._amount((stored >> 32) & BITS_16)
    new = self._amount((values >> 32) & BITS_16)
    if new > old and self._beyond(old, unsafe_sub(new, old), loosen_ppm, self._least_amount(limits)):
        return refusals.SIZE_SCALE_STEP_TOO_LARGE
    old = (stored >> 48) & BITS_10
    new = (values >> 48) & BITS_10
    if new < old and self._beyond(old, unsafe_sub(old, new), loosen_ppm, (limits >> 131) & BITS_6):
        return refusals.SPREAD_STEP_TOO_LARGE
    return 0


@internal
@pure
def _beyond(old: uint256, move: uint256, ppm: uint256, least: uint256) -> bool:
    """
    @return Whether a move is more than both the relative and the absolute step.
    """
    return unsafe_div(unsafe_mul(move, PPM), old) > ppm and move > least


@internal
@pure
def _least_amount(limits: uint256) -> uint256:
    """
    @return The class's absolute minimum step of an amount, whole USDC.
    """
    return ((limits >> 201) & 2_047) << ((limits >> 212) & 31)


@internal
@pure
def _misfit(word: uint256, limits: uint256) -> uint256:
    """
    @notice Judge an item by itself: canonical, coherent, inside its class's bounds.
    @return 0, or the refusal.
    """
    # An amount's mantissa has its top bit, or there is no exponent; bits above the fields mean nothing.
    if (
        word >> WORD_BITS != 0
        or (word & (1 << 62) == 0 and word & (31 << 63) != 0)
        or (word & (1 << 78) == 0 and word & (31 << 79) != 0)
    ):
        return refusals.NOT_CANONICAL
    cap_e2: uint256 = (word >> 16) & BITS_16
    product: uint256 = unsafe_mul(cap_e2, (word >> 32) & BITS_20)
    # Cap and maintenance are one tuple: 1 - e <= 2 x maintenance x cap <= 1, e less than one ppm of maintenance.
    if unsafe_sub(HALF_PPM_E2, product) >= cap_e2:
        return refusals.TUPLE_INCOHERENT
    if cap_e2 < limits & BITS_16 or word & CAP_FIELD > limits & CAP_FIELD:
        return refusals.CAP_OUT_OF_BOUNDS
    # A cap of 0 has no relative step out of it; reduce_only says "no new risk".
    if word & OPEN_INTEREST_FIELD > limits & OPEN_INTEREST_FIELD or word & OPEN_INTEREST_FIELD == 0:
        return refusals.OPEN_INTEREST_CAP_OUT_OF_BOUNDS
    # All ones is what a clamped encoder makes: no number.
    if word & SCALE_FIELD < limits & SCALE_FIELD or word & SCALE_FIELD == SCALE_FIELD:
        return refusals.SIZE_SCALE_OUT_OF_BOUNDS
    if word & SPREAD_FIELD > limits & SPREAD_FIELD:
        return refusals.SPREAD_OUT_OF_BOUNDS
    # Traders were promised this much notice; 0 asks for exactly it.
    if word & RAMP_FIELD < limits & RAMP_FIELD and word & RAMP_FIELD != 0:
        return refusals.RAMP_TOO_SHORT
    return 0


@internal
@view
def _permissions(
    stored: uint256, guarded: uint256, controls: uint256, stream: uint256, expired: bool
) -> uint256:
    """
    @param stored The market's slot.
    @param guarded The guardian's word of it.
    @param controls The pauses' word.
    @param stream quorum's word.
    @param expired Whether its parameters were not renewed in time.
    @return What may be done in it now, as `permissions` gives it.
    @dev Unchecked arithmetic: the pauses' ends have 32 bits.
    """
    # An end later than now borrows: all the highest bits of the difference are set.
    closing: uint256 = (
        unsafe_sub(block.timestamp, (controls >> 128) & BITS_32)
        | unsafe_sub(block.timestamp, guarded & BITS_32)
    )
    liquidating: uint256 = (
        unsafe_sub(block.timestamp, (controls >> 96) & BITS_32)
        | unsafe_sub(block.timestamp, (controls >> 160) & BITS_32)
        | unsafe_sub(block.timestamp, (guarded >> 32) & BITS_32)
    )
    denied: uint256 = (
        ((closing >> HIGHEST_AT) & (MAY_CLOSE | MAY_WITHDRAW))
        | ((liquidating >> HIGHEST_AT) & MAY_LIQUIDATE)
        | ((unsafe_sub(block.timestamp, (controls >> 64) & BITS_32) >> HIGHEST_AT) & MAY_WITHDRAW)
        | ((unsafe_sub(block.timestamp, (stream >> halts.DECISIONS_AT) & BITS_32) >> HIGHEST_AT) & MAY_DECIDE)
    )
    # Nothing is opened where anything else is stopped: who is in must be able to get out.
    if (
        denied
        | (unsafe_sub(block.timestamp, controls & BITS_32) >> HIGHEST_AT)
        | (stored & REDUCE_ONLY_BIT)
        | convert(expired, uint256)
        != 0
    ):
        return ALL_BUT_OPEN ^ denied
    if guarded & LIMIT_REDUCE_ONLY_BIT != 0 and (guarded >> 64) & BITS_32 > block.timestamp:
        return ALL_BUT_OPEN
    return ALL_BUT_OPEN | MAY_OPEN


@internal
@pure
def _limited(stored: uint256, guarded: uint256) -> uint256:
    """
    @param stored The market's slot.
    @param guarded The guardian's word of it, whose limit counts.
    @return The tighter of what is signed and what the guardian limits.
    """
    values: uint256 = stored & VALUES_MASK
    limit: uint256 = (guarded >> 64) & LIMIT_MASK
    return self._tighter(
        values,
        (limit >> 32) & BITS_32
        | (values & (((1 << 26) - 1) << 32))
        | ((limit >> 64) << 58),
    )


@internal
@view
def _elapsed(stored: uint256, now_s: uint256, stream: uint256) -> uint256:
    """
    @notice Seconds of its ramp that a market has run: until now, its expiry, or the first AI-input pause after
            it was last accepted, whichever came first.
    @param stored The market's slot.
    @param now_s The block's time, since 2010.
    @param stream quorum's word.
    """
    stop_s: uint256 = min(
        now_s,
        unsafe_div(
            unsafe_add(
                (stored >> OBSERVED_AT) & BITS_40,
                unsafe_mul((stored >> VALIDITY_AT) & BITS_12, VALIDITY_UNIT_MS),
            ),
            1_000,
        ),
    )
    epoch: uint256 = (stored >> EPOCH_AT) & BITS_6
    if epoch != (stream >> halts.EPOCH_AT) & BITS_6:
        stop_s = min(stop_s, unsafe_sub(halts.epoch_ended_s[epoch], EPOCH_S))
    start_s: uint256 = (stored >> CHANGED_AT) & BITS_30
    return unsafe_sub(max(stop_s, start_s), start_s)


@internal
@pure
def _effective(stored: uint256, elapsed: uint256) -> uint256:
    """
    @notice The maintenance ratio of managed open positions: linear from the ramp's start to its target.
    @param stored The market's slot.
    @param elapsed Seconds that the ramp has run.
    @return In ppm, rounded toward where the ramp began.
    """
    start: uint256 = (stored >> FROM_AT) & BITS_19
    if stored & HELD_BIT != 0:
        return start
    target: uint256 = unsafe_div(HALF_PPM_E2, stored & BITS_16)
    ramp_s: uint256 = stored >> RAMP_AT
    if elapsed >= ramp_s:
        return target
    if target >= start:
        return unsafe_add(start, unsafe_div(unsafe_mul(unsafe_sub(target, start), elapsed), ramp_s))
    return unsafe_sub(start, unsafe_div(unsafe_mul(unsafe_sub(start, target), elapsed), ramp_s))


@internal
@view
def _stand_still(stored: uint256, until_s: uint256) -> uint256:
    """
    @notice Begin a market's ramp anew, at its live value, at a later time, for the time it had left. Where none
            runs, the next one begins no earlier.
    @param stored The market's slot.
    @param until_s When it goes on, since 2010.
    """
    elapsed: uint256 = self._elapsed(stored, block.timestamp - EPOCH_S, quorum.stream)
    ramp_s: uint256 = stored >> RAMP_AT
    start_s: uint256 = max(until_s, (stored >> CHANGED_AT) & BITS_30)
    if elapsed >= ramp_s:
        # No ramp runs: one that an update asks for meanwhile begins then too.
        return (stored & ((1 << CHANGED_AT) - 1)) | (start_s << CHANGED_AT)
    start: uint256 = self._effective(stored, elapsed)
    kept: uint256 = stored & ((1 << FROM_AT) - 1)
    return kept | (start << FROM_AT) | (start_s << CHANGED_AT) | ((ramp_s - elapsed) << RAMP_AT)


@internal
@pure
def _tighter(a: uint256, b: uint256) -> uint256:
    """
    @return Of each field of two sets of values the tighter one; wider is tighter for the spread.
    """
    return (
        min(a & BITS_16, b & BITS_16)
        | min(a & (BITS_16 << 16), b & (BITS_16 << 16))
        | min(a & (BITS_16 << 32), b & (BITS_16 << 32))
        | max(a & (BITS_10 << 48), b & (BITS_10 << 48))
        | ((a | b) & REDUCE_ONLY_BIT)
    )


@internal
@pure
def _amount(bits: uint256) -> uint256:
    """
    @return Whole USDC of 16 bits: mantissa 11 | exponent 5. Canonical bits sort as their amounts.
    """
    return (bits & 2_047) << (bits >> 11)


@internal
@pure
def _canonical_amount(bits: uint256) -> bool:
    """
    @return Whether no larger mantissa says the same, or there is no exponent.
    """
    return bits < 2_048 or (bits <= BITS_16 and bits & 1_024 != 0)


@internal
@view
def _expired(stored: uint256) -> bool:
    """
    @return Whether a market's parameters were not renewed in time.
    """
    return unsafe_add(
        (stored >> OBSERVED_AT) & BITS_40, unsafe_mul((stored >> VALIDITY_AT) & BITS_12, VALIDITY_UNIT_MS)
    ) < unsafe_mul(unsafe_sub(block.timestamp, EPOCH_S), 1_000)


@internal
@pure
def _sound(limits: uint256) -> bool:
    """
    @return Whether a class's bounds can be lived with: no field at its limit, none that would lock a market.
    """
    open_interest_cap: uint256 = (limits >> 52) & BITS_16
    size_scale: uint256 = (limits >> 68) & BITS_16
    least_amount: uint256 = (limits >> 201) & BITS_16
    notice_s: uint256 = (limits >> 95) & BITS_16
    tighten_ppm: uint256 = (limits >> 151) & BITS_20
    loosen_ppm: uint256 = (limits >> 171) & BITS_20
    floor_ppm: uint256 = (limits >> 32) & BITS_20
    return (
        limits >> BOUNDS_BITS == 0
        and limits & BOUNDS_GAPS == 0
        and limits & BITS_16 >= 100
        and limits & BITS_16 <= (limits >> 16) & BITS_16
        and limits & CAP_FIELD != CAP_FIELD
        and floor_ppm != 0
        and floor_ppm <= PPM // 2
        and (limits >> 111) & BITS_20 <= PPM
        and open_interest_cap != 0
        and open_interest_cap != BITS_16
        and self._canonical_amount(open_interest_cap)
        and size_scale != 0
        and size_scale != BITS_16
        and self._canonical_amount(size_scale)
        and limits & SPREAD_FIELD != SPREAD_FIELD
        and notice_s >= MIN_NOTICE_S
        and notice_s != BITS_16
        and limits & VALIDITY_FIELD != 0
        and tighten_ppm != 0
        and tighten_ppm <= PPM
        and loosen_ppm != 0
        and loosen_ppm <= PPM
        and (limits >> 191) & BITS_10 != 0
        and least_amount != 0
        and least_amount != BITS_16
        and self._canonical_amount(least_amount)
        and (limits >> 131) & BITS_6 != 0
        and (limits >> 217) & BITS_17 != 0
        and limits >> 235 != 0
    )


@internal
@view
def _slot(market: uint256) -> uint256:
    """
    @return A market's slot; refuses a market that was never added.
    """
    # An added market has a class, so its slot is never zero; asking the count would cost one more slot.
    if market < MAX_MARKETS:
        stored: uint256 = self.markets[market]
        if stored != 0:
            return stored
    refusals.refuse(refusals.UNKNOWN_MARKET)
    return 0


@internal
@view
def _known_class(class_id: uint256):
    """
    @notice Refuse a class without bounds: its markets could never be updated.
    """
    if class_id > 7 or self.class_bounds[class_id] == 0:
        refusals.refuse(refusals.UNKNOWN_CLASS)


@internal
@view
def _bounds_hash() -> bytes32:
    """
    @return Hash of all classes' bounds.
    """
    return keccak256(abi_encode(self.class_bounds))


@internal
@pure
def _terms_hash(terms: IRiskOracle.PositionTerms) -> bytes32:
    """
    @return EIP-712 hash of the message; its fields are all static, so they lie side by side.
    """
    return keccak256(abi_encode(POSITION_TERMS_TYPEHASH, terms))


@internal
@pure
def _action_hash(action: IRiskOracle.PositionAction) -> bytes32:
    """
    @return EIP-712 hash of the message; its fields are all static, so they lie side by side.
    """
    return keccak256(abi_encode(POSITION_ACTION_TYPEHASH, action))
