# pragma version 0.4.3
# pragma evm-version prague
# pragma optimize gas
"""
@title PriceFeed: signed price rounds, two markets a slot
@license Apache-2.0
@notice k of n price signers post rounds of prices. A market's price moves only to a strictly newer
        observation, and only inside a band around its last accepted price that widens with the observation
        time since then; after the class's window any price is accepted, so nothing locks out for ever. A
        market that was offered a price outside its band is `unconfirmed` until one inside arrives.
@custom:kill Stop signing: prices go stale, and the engine opens nothing on a stale price. The guardian pauses
             EVERYTHING in RiskOracle; the owner schedules a threshold that no holder of keys can meet. No
             funds are held here.
@dev Integers only. Half of a slot, from the least significant bit: mantissa 32 | exponent 6 | average 34 |
     confidence 12 (50 ppm) | observed_ms 40 (since 2010) | class 3 | unconfirmed 1. Word of a round: slot 16 |
     2 x (mantissa 32 | exponent 6 | confidence 12 | age_ms 16). contracts/price_feed.py is the exact mirror.
"""

from contracts import authority
from contracts import quorum
from contracts import refusals
from contracts.interfaces import IPriceFeed

implements: IPriceFeed
initializes: authority
initializes: quorum[authority := authority]

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
)

event PriceRoundPosted:
    round: indexed(uint64)
    observed_at: uint64
    message_hash: bytes32
    evidence_hash: bytes32
    skipped: DynArray[uint256, MAX_MARKETS_A_ROUND]

event MarketAdded:
    market: indexed(uint256)
    class_id: uint256

event MarketClassChanged:
    market: indexed(uint256)
    class_id: uint256

event ClassRulesChanged:
    class_id: indexed(uint256)
    rules: uint256


MAX_WORDS: constant(uint256) = 64
WORDS_BYTES: constant(uint256) = 32 * MAX_WORDS
MAX_MARKETS_A_ROUND: constant(uint256) = 128  # two a word
MAX_SLOTS: constant(uint256) = 65_536  # what the word's 16 bits can name
MAX_MARKETS: constant(uint256) = 65_536
MAX_AGE_MS: constant(uint256) = 60_000  # an older round is history, whatever the classes say
MAX_VALIDITY_MS: constant(uint256) = 120_000
AVERAGE_MS: constant(uint256) = 300_000  # the five-minute average
PPB: constant(uint256) = 10**9  # ppm a second x milliseconds = parts per billion
MAX_BAND_PPB: constant(uint256) = 500_000_000  # up to here the band is superadditive also when compounded
CONFIDENCE_UNIT_PPM: constant(uint256) = 50

PRICE_ROUND_TYPEHASH: constant(bytes32) = keccak256(
    "PriceRound(uint64 round,uint64 observedAt,uint64 validUntil,bytes32 evidenceHash,uint256[] words)"
)

# bits of a slot's half and of a word's half
HALF_MASK: constant(uint256) = 2**128 - 1
WORD_HALF_MASK: constant(uint256) = 2**66 - 1
MANTISSA_MASK: constant(uint256) = 2**32 - 1
LOWEST_MANTISSA: constant(uint256) = 2**31
EXPONENT_MASK: constant(uint256) = 2**6 - 1
PRICE_MASK: constant(uint256) = 2**38 - 1
AVERAGE_MASK: constant(uint256) = 2**34 - 1
CONFIDENCE_MASK: constant(uint256) = 2**12 - 1
OBSERVED_MASK: constant(uint256) = 2**40 - 1
CLASS_MASK: constant(uint256) = 2**3 - 1
CLASS_FIELD_MASK: constant(uint256) = CLASS_MASK << 124
CONFIDENCE_FIELD: constant(uint256) = CONFIDENCE_MASK << 38  # in a word's half
UNCONFIRMED_BIT: constant(uint256) = 1 << 127
CODE_MASK: constant(uint256) = 2**16 - 1
TIME_MASK: constant(uint256) = 2**32 - 1
# bits of a mark's word
MARK_OBSERVED_AT: constant(uint256) = 20
MARK_UNCONFIRMED: constant(uint256) = 1 << 68
MARK_FRESH: constant(uint256) = 1 << 69
MARK_NEW_RISK: constant(uint256) = 1 << 70

# bits of a class's rules: rate_ppm_per_s 16 | window_ms 24 | max_confidence 12 | new_risk_age_ms 24 | max_age_ms 17
RULES_BITS: constant(uint256) = 93

market_count: public(uint256)
class_rules: uint256[8]
markets: uint256[MAX_SLOTS]
# When the last accepted price that ended a gap arrived, Unix seconds, 32 bits for each of eight markets. Apart from
# the slots, so that a round on time never touches it.
resumed: uint256[MAX_MARKETS // 8]


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
    @param guardian Who may stop and tighten.
    @param timelock_s Seconds that a scheduled operation waits once launched.
    @param signers The price signers.
    @param threshold How many of them sign a round, exactly.
    @param policy_hash Hash of the rules that the signers follow.
    """
    authority.__init__(owner, guardian, timelock_s)
    quorum.__init__(signers, threshold, policy_hash)
    quorum._reconfigure(self._bounds_hash())


@external
def post_round(
    round: uint64,
    observed_at: uint64,
    valid_until: uint64,
    evidence_hash: bytes32,
    words: Bytes[WORDS_BYTES],
    signatures: DynArray[bytes32, 32],
):
    """
    @notice Post a signed round. A bad item is skipped with its reason in the event, the rest lands.
    @param round Strictly newer than the last, at most 2**32 ahead.
    @param observed_at Milliseconds; the newest of the round's observations.
    @param valid_until Milliseconds; the round may not land later.
    @param evidence_hash Names what the round was made from.
    @param words Two markets each, 32 bytes each, side by side as the digest hashes them.
    @param signatures Exactly k pairs (r, vs), signers ascending.
    """
    stream: uint256 = quorum._next_round(round)
    # An empty round would cost its number and say nothing; part of a word is no word.
    if len(words) == 0 or len(words) & 31 != 0:
        refusals.refuse(refusals.NO_WHOLE_WORDS)
    message_hash: bytes32 = quorum._digest(
        self._round_hash(round, observed_at, valid_until, evidence_hash, keccak256(words))
    )
    quorum._verify(message_hash, signatures, stream)
    at_ms: uint256 = quorum._fresh(observed_at, valid_until, MAX_AGE_MS, MAX_VALIDITY_MS)
    now_ms: uint256 = unsafe_sub(unsafe_mul(block.timestamp, 1_000), quorum.EPOCH_MS)

    skipped: DynArray[uint256, MAX_MARKETS_A_ROUND] = []
    for i: uint256 in range(len(words) >> 5, bound=MAX_WORDS):
        word: uint256 = extract32(words, i << 5, output_type=uint256)
        codes: uint256 = self._apply(word, at_ms, now_ms)
        if codes != 0:
            market: uint256 = (word & (MAX_SLOTS - 1)) << 1
            if codes & CODE_MASK != 0:
                skipped.append((market << 16) | (codes & CODE_MASK))
            if codes > CODE_MASK:
                skipped.append(((market | 1) << 16) | (codes >> 16))
    log PriceRoundPosted(
        round=round,
        observed_at=observed_at,
        message_hash=message_hash,
        evidence_hash=evidence_hash,
        skipped=skipped,
    )


@external
def add_market(market: uint256, class_id: uint256):
    """
    @notice Add the next market. Timelocked. Its slot is never zero again, so no round pays for that.
    @param market Its id: the number of markets so far. Asked for, so that two adds cannot change places.
    @param class_id Whose rules it follows.
    """
    authority._only_owner()
    authority._consume(keccak256(slice(msg.data, 0, 68)))
    if market != self.market_count:
        refusals.refuse(refusals.MARKET_OUT_OF_ORDER)
    if market >= MAX_MARKETS:
        refusals.refuse(refusals.TOO_MANY_MARKETS)
    self._known_class(class_id)
    self.market_count = market + 1
    self.markets[market >> 1] |= class_id << (124 + 128 * (market & 1))
    log MarketAdded(market=market, class_id=class_id)


@external
def set_market_class(market: uint256, class_id: uint256):
    """
    @notice Move a market to another class; its price stays. Timelocked; voids what is signed.
    @param market Its id.
    @param class_id Whose rules it follows from now on.
    """
    authority._only_owner()
    authority._consume(keccak256(slice(msg.data, 0, 68)))
    half: uint256 = self._half(market)
    self._known_class(class_id)
    offset: uint256 = 128 * (market & 1)
    changed: uint256 = (half & ~CLASS_FIELD_MASK) | (class_id << 124)
    self.markets[market >> 1] ^= (half ^ changed) << offset
    log MarketClassChanged(market=market, class_id=class_id)
    quorum._reconfigure(self._bounds_hash())


@external
def set_class(class_id: uint256, rules: uint256):
    """
    @notice Set the rules of a class. Timelocked; voids what is signed.
    @param class_id 1 to 7; 0 is what an unknown market has.
    @param rules rate_ppm_per_s 16 | window_ms 24 | max_confidence 12 | new_risk_age_ms 24 | max_age_ms 17.
    """
    authority._only_owner()
    authority._consume(keccak256(slice(msg.data, 0, 68)))
    if class_id == 0 or class_id > CLASS_MASK:
        refusals.refuse(refusals.UNKNOWN_CLASS)
    band: uint256 = (rules & 65_535) * ((rules >> 16) & 16_777_215)
    # A band of zero locks a market until its window ends; beyond MAX_BAND_PPB many small moves would be
    # worth more than one. No age, no confidence or no window would be a market without rounds or guards.
    if (
        rules >> RULES_BITS != 0
        or band == 0
        or band > MAX_BAND_PPB
        or rules >> 76 == 0
        or (rules >> 40) & CONFIDENCE_MASK == 0
        or (rules >> 52) & 16_777_215 == 0
    ):
        refusals.refuse(refusals.CLASS_RULES_INVALID)
    self.class_rules[class_id] = rules
    log ClassRulesChanged(class_id=class_id, rules=rules)
    quorum._reconfigure(self._bounds_hash())


@external
@view
def digest_price_round(
    round: uint64,
    observed_at: uint64,
    valid_until: uint64,
    evidence_hash: bytes32,
    words: Bytes[WORDS_BYTES],
) -> bytes32:
    """
    @notice What the signers sign for this round in the present configuration.
    """
    return quorum._digest(
        self._round_hash(round, observed_at, valid_until, evidence_hash, keccak256(words))
    )


@external
@view
def price(market: uint256) -> (uint256, uint256, uint256, uint64, bool):
    """
    @notice A market's last accepted price.
    @param market Its id.
    @return price_e18, five-minute average_e18, confidence_ppm, observed_at in Unix ms (all 0 before the first
            price), and whether a price outside the band waits for confirmation.
    """
    half: uint256 = self._half(market)
    exponent: uint256 = (half >> 32) & EXPONENT_MASK
    observed: uint256 = (half >> 84) & OBSERVED_MASK
    if observed != 0:
        observed += quorum.EPOCH_MS
    return (
        (half & MANTISSA_MASK) << exponent,
        ((half >> 38) & AVERAGE_MASK) << exponent,
        ((half >> 72) & CONFIDENCE_MASK) * CONFIDENCE_UNIT_PPM,
        convert(observed, uint64),
        half >> 127 != 0,
    )


@external
@view
def may_carry_new_risk(market: uint256) -> bool:
    """
    @notice Whether a position may be opened, or margin withdrawn, at this market's price.
    @param market Its id.
    @return True when there is a price, young, confirmed, and its confidence within the class's limit.
    """
    return self._mark_word(self._half(market)) & MARK_NEW_RISK != 0


@external
@view
def mark(market: uint256) -> (uint256, uint256, uint256):
    """
    @notice For the engine: a market's last accepted price and what may be done at it, in one call.
    @param market Its id.
    @return price_e18, five-minute average_e18, and confidence_ppm 20 | observed_at 48 (Unix ms) | unconfirmed 1 |
            fresh 1 (young enough for new risk) | new_risk 1 (as may_carry_new_risk); all 0 before the first price.
    """
    half: uint256 = self._half(market)
    exponent: uint256 = (half >> 32) & EXPONENT_MASK
    return (
        (half & MANTISSA_MASK) << exponent,
        ((half >> 38) & AVERAGE_MASK) << exponent,
        self._mark_word(half),
    )


@external
@view
def resumed_at(market: uint256) -> uint256:
    """
    @notice When the last gap in a market's prices ended: whoever could not act without a price has had since then.
    @param market Its id.
    @return Unix seconds of the block in which a price was accepted that is more than five minutes newer than the one
            before it; 0 if there was none. The first price ends no gap.
    """
    self._half(market)
    return (self.resumed[market >> 3] >> (32 * (market & 7))) & TIME_MASK


@external
@view
def rules(class_id: uint256) -> uint256:
    """
    @param class_id 1 to 7.
    @return The class's packed rules, 0 when there are none.
    """
    return self.class_rules[class_id]


@external
@view
def slots(first: uint256, count: uint256) -> DynArray[uint256, 256]:
    """
    @notice Raw slots, for readers that decode them.
    @param first The first slot (market >> 1).
    @param count At most 256.
    """
    words: DynArray[uint256, 256] = []
    for i: uint256 in range(count, bound=256):
        words.append(self.markets[first + i])
    return words


@internal
def _apply(word: uint256, at_ms: uint256, now_ms: uint256) -> uint256:
    """
    @notice Judge the two prices of a word and store what they make of the slot.
    @param word The item.
    @param at_ms The round's observation time, since 2010.
    @param now_ms The block's time, since 2010.
    @return Why its items were skipped, 16 bits for each market, the lower one's below; 0 for none.
    @dev Unchecked arithmetic: every factor is a bit field; the widest product has 146 bits. `at_ms` is at
         least the largest age (quorum._fresh). Written out, because a call costs as much as a check.
    """
    offers: uint256 = word >> 16
    # Bits that mean nothing must be zero, or one decision had many hashes; and a word that touches neither of
    # its markets is a mistake of whoever made it.
    if offers == 0 or offers >> 132 != 0:
        return refusals.NOT_CANONICAL
    stored: uint256 = self.markets[word & (MAX_SLOTS - 1)]
    written: uint256 = stored
    codes: uint256 = 0
    for side: uint256 in range(2):
        offered: uint256 = offers & WORD_HALF_MASK
        offers = offers >> 66
        if offered == 0:
            continue
        half: uint256 = (stored >> (side << 7)) & HALF_MASK
        if half == 0:
            codes |= refusals.UNKNOWN_MARKET << (side << 4)
            continue
        limits: uint256 = self.class_rules[(half >> 124) & CLASS_MASK]
        mantissa: uint256 = offered & MANTISSA_MASK
        if mantissa < LOWEST_MANTISSA:
            codes |= refusals.NOT_CANONICAL << (side << 4)
            continue
        # A clamped encoder makes these: a price at its field's limit is no price.
        price_bits: uint256 = offered & PRICE_MASK
        if (
            price_bits == PRICE_MASK
            or price_bits == LOWEST_MANTISSA
            or offered & CONFIDENCE_FIELD == CONFIDENCE_FIELD
        ):
            codes |= refusals.AT_ABSOLUTE_LIMIT << (side << 4)
            continue
        observed: uint256 = unsafe_sub(at_ms, offered >> 50)
        last_ms: uint256 = (half >> 84) & OBSERVED_MASK
        if observed <= last_ms:
            codes |= refusals.OLDER_OBSERVATION << (side << 4)
            continue
        if unsafe_add(observed, limits >> 76) < now_ms:
            codes |= refusals.ITEM_TOO_OLD << (side << 4)
            continue
        last_mantissa: uint256 = half & MANTISSA_MASK
        if last_mantissa == 0:
            # The first price is its own average.
            written ^= (
                half
                ^ (price_bits | (mantissa << 38) | ((offered & CONFIDENCE_FIELD) << 34) | (observed << 84) | (half & CLASS_FIELD_MASK))
            ) << (side << 7)
            continue
        elapsed: uint256 = unsafe_sub(observed, last_ms)
        last_exponent: uint256 = (half >> 32) & EXPONENT_MASK
        if elapsed < (limits >> 16) & 16_777_215:
            # Allowed move f(t) = rt + (rt)^2, superadditive: no sequence of rounds within t gains on one.
            last: uint256 = last_mantissa << last_exponent
            move: uint256 = mantissa << (price_bits >> 32)
            if move > last:
                move = unsafe_mul(unsafe_sub(move, last), PPB)
            else:
                move = unsafe_mul(unsafe_sub(last, move), PPB)
            reach: uint256 = unsafe_mul(limits & 65_535, elapsed)
            if move > unsafe_mul(last, reach):
                # Beyond rt, which is where most moves end.
                reach = unsafe_add(reach, unsafe_div(unsafe_mul(reach, reach), PPB))
                if move > unsafe_mul(last, reach):
                    written |= UNCONFIRMED_BIT << (side << 7)
                    codes |= refusals.OUT_OF_BAND << (side << 4)
                    continue
        # The price that was in force counts for the time it was; the new one for none yet. Rounded down once,
        # in the new price's unit; saturating at four times the price.
        if elapsed > AVERAGE_MS:
            elapsed = AVERAGE_MS
            self._note_gap(((word & (MAX_SLOTS - 1)) << 1) | side)
        average: uint256 = unsafe_div(
            unsafe_add(
                unsafe_mul((half >> 38) & AVERAGE_MASK, unsafe_sub(AVERAGE_MS, elapsed)),
                unsafe_mul(last_mantissa, elapsed),
            )
            << last_exponent,
            AVERAGE_MS,
        ) >> (price_bits >> 32)
        if average > AVERAGE_MASK:
            average = AVERAGE_MASK
        written ^= (
            half
            ^ (price_bits | (average << 38) | ((offered & CONFIDENCE_FIELD) << 34) | (observed << 84) | (half & CLASS_FIELD_MASK))
        ) << (side << 7)
    self.markets[word & (MAX_SLOTS - 1)] = written
    return codes


@internal
def _note_gap(market: uint256):
    """
    @notice Remember that a gap in a market's prices ended in this block.
    @param market Its id.
    """
    at: uint256 = (market & 7) << 5
    noted: uint256 = self.resumed[market >> 3] & ~(TIME_MASK << at)
    self.resumed[market >> 3] = noted | (block.timestamp << at)


@internal
@view
def _mark_word(half: uint256) -> uint256:
    """
    @param half A market's half of a slot.
    @return What may be done at its price now, as `mark` gives it.
    @dev Unchecked arithmetic: every term is a bit field.
    """
    observed: uint256 = (half >> 84) & OBSERVED_MASK
    # Without a price there is nothing to trust, whatever the class says.
    if observed == 0:
        return 0
    observed = unsafe_add(observed, quorum.EPOCH_MS)
    limits: uint256 = self.class_rules[(half >> 124) & CLASS_MASK]
    confidence: uint256 = (half >> 72) & CONFIDENCE_MASK
    found: uint256 = unsafe_mul(confidence, CONFIDENCE_UNIT_PPM) | (observed << MARK_OBSERVED_AT)
    if half >> 127 != 0:
        found |= MARK_UNCONFIRMED
    if unsafe_add(observed, (limits >> 52) & 16_777_215) >= unsafe_mul(block.timestamp, 1_000):
        found |= MARK_FRESH
        if half >> 127 == 0 and confidence <= (limits >> 40) & CONFIDENCE_MASK:
            found |= MARK_NEW_RISK
    return found


@internal
@pure
def _round_hash(
    round: uint64,
    observed_at: uint64,
    valid_until: uint64,
    evidence_hash: bytes32,
    words_hash: bytes32,
) -> bytes32:
    """
    @param words_hash Of the words side by side, as EIP-712 hashes an array.
    @return EIP-712 hash of the message.
    """
    return keccak256(
        abi_encode(
            PRICE_ROUND_TYPEHASH,
            round,
            observed_at,
            valid_until,
            evidence_hash,
            words_hash,
        )
    )


@internal
@view
def _half(market: uint256) -> uint256:
    """
    @param market Its id.
    @return Its half of a slot; refuses a market that was never added.
    """
    half: uint256 = 0
    if market < MAX_MARKETS:
        half = (self.markets[market >> 1] >> ((market & 1) << 7)) & HALF_MASK
    # An added market has a class, so its half is never zero; asking the count would cost one more slot.
    if half == 0:
        refusals.refuse(refusals.UNKNOWN_MARKET)
    return half


@internal
@view
def _known_class(class_id: uint256):
    """
    @notice Refuse a class without rules: its markets could never be priced.
    """
    if class_id > CLASS_MASK or self.class_rules[class_id] == 0:
        refusals.refuse(refusals.UNKNOWN_CLASS)


@internal
@view
def _bounds_hash() -> bytes32:
    """
    @return Hash of all classes' rules.
    """
    return keccak256(abi_encode(self.class_rules))
