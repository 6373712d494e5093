# pragma version 0.4.3
# pragma evm-version prague
# pragma optimize gas
"""
@title Liquidator: which position is closed, how much of it, when, and by whose word
@license Apache-2.0
@notice Anybody may liquidate by the formula at any time: below maintenance the smallest part that restores 1.5
        times maintenance, below two thirds of it everything. Signed actions choose the order, a smaller size, and
        deleverage or adjust managed positions inside what their owners accepted at opening. A side whose profit
        outgrows its share of the pool is cut, all its positions alike, by anybody.
@custom:kill The guardian pauses LIQUIDATION, EVERYTHING or one market in RiskOracle, for an hour at most; the owner
             extends it. Disabling the decision kinds of actions leaves the formula alone. No funds are held here.
@dev The engine moves the money and holds the lock; this contract decides. It calls only the system's own contracts,
     and writes before it calls. contracts/margin.py and margin_losses.py are the law that it equals.
"""

from contracts import liquidation_math
from contracts import margin_math
from contracts import margin_words
from contracts import refusals
from contracts.interfaces import ILiquidator
from contracts.interfaces import ILiquidityPool
from contracts.interfaces import IMarginEngine
from contracts.interfaces import IPriceFeed
from contracts.interfaces import IRiskOracle

implements: ILiquidator

interface ClassBounds:
    def bounds(class_id: uint256) -> uint256: view


event LiquidationDeferred:
    market: indexed(uint256)
    price: uint256
    average: uint256
    observed_ms: uint256

event GraceBegun:
    account: indexed(address)
    equity: int256
    absent: uint256
    maintenance: uint256

event PositionLiquidated:
    position_id: indexed(uint256)
    caller: indexed(address)
    size: uint256
    whole: bool
    penalty_ppm: uint256
    equity: int256
    maintenance: uint256
    action_hash: bytes32  # 0 for the formula

event PositionDeleveraged:
    position_id: indexed(uint256)
    caller: indexed(address)
    size: uint256
    equity: int256
    action_hash: bytes32

event PositionAdjusted:
    position_id: indexed(uint256)
    caller: indexed(address)
    from_ppm: uint256
    target_ppm: uint256
    ramp_s: uint256
    action_hash: bytes32

event SideDeleveraged:
    market: indexed(uint256)
    long: bool
    caller: indexed(address)
    keep_e27: uint256
    payout: uint256
    profit: uint256
    assets: uint256

event WindowUsed:
    market: indexed(uint256)
    used: uint256
    begun_s: uint256


PPM: constant(uint256) = 1_000_000
USDC: constant(uint256) = 1_000_000
E27: constant(uint256) = 10**27
E30: constant(uint256) = 10**30  # size x price in one USDC e6
KIND_ADJUST: constant(uint8) = 1
KIND_DELEVERAGE: constant(uint8) = 2
KIND_LIQUIDATE: constant(uint8) = 3

TARGET_PPM: constant(uint256) = 1_500_000  # a partial liquidation restores 1.5 x maintenance
GRACE_S: constant(uint256) = 300  # after a pause or a gap traders may add margin before they are liquidated in part
WINDOW_S: constant(uint256) = 60
WINDOW_SHARE: constant(uint256) = 4  # a quarter of the size scale a window: what the pool can hedge meanwhile
NOTE_S: constant(uint256) = 120  # a note of a far price says nothing about a price of later
AGREES_MS: constant(uint256) = 3_000  # a second round: other venues' data, not the same one again
LONGEST_WAIT_S: constant(uint256) = 30
NOTED: constant(uint256) = 1
WAITING: constant(uint256) = 2
LEAST_KEEP_E27: constant(uint256) = 10**9  # below it, rounding would take more than 1e-9 of a share

# bits of a position's id
ID_BITS: constant(uint256) = 184
MARKET_MASK: constant(uint256) = 2**16 - 1
MODE_MASK: constant(uint256) = 2**8 - 1

# a market's class in its risk slot, a class's notice in its bounds
CLASS_AT: constant(uint256) = 121
CLASS_MASK: constant(uint256) = 2**3 - 1
NOTICE_AT: constant(uint256) = 95

# the short side in a market's sizes
SHORT_AT: constant(uint256) = 120

# own slot a market
WINDOW_BEGUN_AT: constant(uint256) = 64
NOTE_OBSERVED_AT: constant(uint256) = 104
NOTE_AT: constant(uint256) = 148
ABOVE_AT: constant(uint256) = 188
WINDOW_MASK: constant(uint256) = 2**104 - 1

engine: public(immutable(IMarginEngine))
feed: public(immutable(IPriceFeed))
oracle: public(immutable(IRiskOracle))
pool: public(immutable(ILiquidityPool))

# used_e6 64 | window_begun_s 40 | note_observed_ms 44 | note_s 40 | note_above 1
pace: public(HashMap[uint256, uint256])
# When an account was first found to lack nothing but live prices (Unix s); it is closed no sooner than the grace later.
graces: public(HashMap[address, uint256])


@deploy
def __init__(engine_: address, feed_: address, oracle_: address, pool_: address):
    """
    @param engine_ The book. May not exist yet; check it after deployment.
    @param feed_ When prices came back after a gap, and marks.
    @param oracle_ Who verifies actions, and knows of pauses.
    @param pool_ Whose assets a side's profit is measured against.
    """
    # Without one of them nobody could be liquidated, and the pool would bear every loss.
    if empty(address) in [engine_, feed_, oracle_, pool_]:
        refusals.refuse(refusals.ADDRESS_MISSING)
    engine = IMarginEngine(engine_)
    feed = IPriceFeed(feed_)
    oracle = IRiskOracle(oracle_)
    pool = ILiquidityPool(pool_)


@external
def liquidate(account: address, market: uint256, mode: uint256) -> uint256:
    """
    @notice Liquidate a position by the formula. The reward goes to the caller's balance in the engine.
    @param account Whose it is.
    @param market Its market. In a cross account the one of the largest maintenance margin goes first.
    @param mode 1 isolated, 2 cross.
    @return The size that was closed; 0 where a second round has to agree first, or a grace began.
    """
    # Beyond its field a market or mode would name another position.
    if market > MARKET_MASK or mode > margin_words.CROSS:
        refusals.refuse(refusals.NO_POSITION)
    position_id: uint256 = margin_words.position_id(account, market, mode)
    health: IMarginEngine.Health = self._health(position_id)
    self._may_be_closed(health)
    return self._liquidate(position_id, health, max_value(uint256), empty(bytes32))


@external
def liquidate_signed(action: IRiskOracle.PositionAction, signatures: DynArray[bytes32, 32]) -> uint256:
    """
    @notice Liquidate the position that the signers chose; above two thirds of maintenance at most their size.
    @param action Kind 3, for this version of the position.
    @param signatures Exactly k pairs (r, vs), signers ascending.
    @return The size that was closed; 0 where a second round has to agree first, or a grace began.
    """
    action_hash: bytes32 = self._verified(action, signatures, KIND_LIQUIDATE)
    health: IMarginEngine.Health = self._health(action.position_id)
    self._meant_for(action, health)
    self._may_be_closed(health)
    self._observed_after(action, health)
    return self._liquidate(action.position_id, health, convert(action.max_size, uint256), action_hash)


@external
def deleverage(action: IRiskOracle.PositionAction, signatures: DynArray[bytes32, 32]) -> uint256:
    """
    @notice Close as much of a managed position as restores the margin at its ceiling: what its owner agreed to at
            opening. It pays what a close costs, no penalty, and nobody is rewarded.
    @param action Kind 2, for this version of the position.
    @param signatures Exactly k pairs (r, vs), signers ascending.
    @return The size that was closed; 0 where a second round has to agree first.
    """
    action_hash: bytes32 = self._verified(action, signatures, KIND_DELEVERAGE)
    health: IMarginEngine.Health = self._health(action.position_id)
    self._meant_for(action, health)
    self._managed(health)
    self._may_be_closed(health)
    self._observed_after(action, health)
    others: uint256 = health.maintenance - health.own_maintenance
    at_ceiling: uint256 = margin_math.charge(health.size, health.price, health.ceiling_ppm)
    # Above its ceiling's margin the owner agreed to nothing; below two thirds all is closed, by liquidation.
    if not liquidation_math.is_liquidatable(health.equity, others + at_ceiling) or (
        liquidation_math.is_backstop(health.equity, health.maintenance)
    ):
        refusals.refuse(refusals.TRIGGER_GONE)
    if not self._agreed(action.position_id, health):
        return 0
    size: uint256 = self._needed(health, health.ceiling_ppm, 0, PPM)
    size = self._limited(health, size, convert(action.max_size, uint256))
    log PositionDeleveraged(
        position_id=action.position_id,
        caller=msg.sender,
        size=size,
        equity=health.equity,
        action_hash=action_hash,
    )
    extcall engine.liquidate(action.position_id, size, 0, self._available(health), 0, msg.sender)
    return size


@external
def adjust(action: IRiskOracle.PositionAction, signatures: DynArray[bytes32, 32]) -> uint256:
    """
    @notice Ramp the maintenance ratio of a managed position from its live value, at least over its class's notice,
            never past its ceiling: so nothing becomes liquidatable in this block.
    @param action Kind 1, for this version of the position.
    @param signatures Exactly k pairs (r, vs), signers ascending.
    @return The ratio that it goes to, in ppm.
    """
    action_hash: bytes32 = self._verified(action, signatures, KIND_ADJUST)
    health: IMarginEngine.Health = self._health(action.position_id)
    self._meant_for(action, health)
    self._managed(health)
    target_ppm: uint256 = min(convert(action.maintenance_ppm, uint256), health.ceiling_ppm)
    market: uint256 = (action.position_id >> margin_words.ID_MARKET_AT) & MARKET_MASK
    slots: DynArray[uint256, 256] = staticcall oracle.slots(market, 1)
    limits: uint256 = staticcall ClassBounds(oracle.address).bounds((slots[0] >> CLASS_AT) & CLASS_MASK)
    ramp_s: uint256 = (limits >> NOTICE_AT) & margin_words.BITS_16
    log PositionAdjusted(
        position_id=action.position_id,
        caller=msg.sender,
        from_ppm=health.ratio_ppm,
        target_ppm=target_ppm,
        ramp_s=ramp_s,
        action_hash=action_hash,
    )
    extcall engine.adjust(
        action.position_id, health.ratio_ppm, target_ppm, ramp_s, staticcall oracle.ai_epoch()
    )
    return target_ppm


@external
def deleverage_side(market: uint256, long: bool) -> uint256:
    """
    @notice Cut a side whose unrealised profit has outgrown its share of the pool's assets: the same share of each of
            its positions, closed at the mark without cost. Constant work; nobody can step aside.
    @param market Its id.
    @param long The side.
    @return USDC e6 paid to the side's positions; 0 where a second round has to agree first.
    """
    price: uint256 = 0
    average: uint256 = 0
    mark: uint256 = 0
    price, average, mark = staticcall feed.mark(market)
    margin: uint256 = staticcall oracle.margin(market)
    profit: uint256 = 0
    flow: uint256 = 0
    rules: uint256 = 0
    profit, flow, rules = self._side(market, long, price)
    # A settled market's profits are fixed, and paid out position by position.
    if flow >> margin_words.SETTLED_AT != 0:
        refusals.refuse(refusals.MARKET_SETTLED)
    self._may_liquidate(margin, mark, rules)
    # No profit is so urgent that it is cut at a price which is not fresh, or in a market somebody froze.
    if mark & margin_words.FRESH_BIT == 0 or margin & margin_words.HALTED_BIT != 0:
        refusals.refuse(refusals.MARKET_NOT_LIVE)
    assets: uint256 = staticcall pool.assets_for_limits()
    share_ppm: uint256 = (rules >> margin_words.CUT_SHARE_AT) & margin_words.BITS_20
    taken: uint256 = liquidation_math.cut_e27(profit, assets, share_ppm)
    # Within its share, or against a pool that has nothing, there is nothing to pay out.
    if taken == 0:
        refusals.refuse(refusals.NOTHING_TO_DELEVERAGE)
    if not self._may_go_on(self._second_round(market, price, average, mark, rules)):
        return 0
    self._countable(market, long, flow, E27 - taken)
    payout: uint256 = extcall engine.cut(market, long, E27 - taken)
    log SideDeleveraged(
        market=market,
        long=long,
        caller=msg.sender,
        keep_e27=E27 - taken,
        payout=payout,
        profit=profit,
        assets=assets,
    )
    # Taking more than the excess is what deleveraging is known for: proved here, with what is left.
    profit, flow, rules = self._side(market, long, price)
    if (profit + USDC) * PPM < share_ppm * staticcall pool.assets_for_limits():
        refusals.refuse(refusals.DELEVERAGED_TOO_FAR)
    return payout


@internal
def _liquidate(
    position_id: uint256, health: IMarginEngine.Health, max_size: uint256, action_hash: bytes32
) -> uint256:
    """
    @notice Close what has to be closed now of a position that may be closed.
    @param max_size Signed; no limit for the formula.
    @param action_hash 0 for the formula.
    @return The size that was closed; 0 where a second round has to agree first, or a grace began.
    """
    # Strictly below: who is at the maintenance margin keeps the position.
    if not liquidation_math.is_liquidatable(health.equity, health.maintenance):
        refusals.refuse(refusals.NOT_LIQUIDATABLE)
    market: uint256 = (position_id >> margin_words.ID_MARKET_AT) & MARKET_MASK
    # What burdens a cross account most goes first, or callers would choose what suits them. Signers may choose.
    cross: bool = position_id & MODE_MASK == margin_words.CROSS
    if cross and action_hash == empty(bytes32) and health.largest_market != market:
        refusals.refuse(refusals.NOT_THE_LARGEST)
    # A profit without a live price is not counted, but it is not lost either: who lacks only that may add margin first.
    if liquidation_math.lacks_prices(health.equity, health.absent, health.maintenance):
        if not self._waited(convert(position_id >> margin_words.ID_ACCOUNT_AT, address), health):
            return 0
    if not self._agreed(position_id, health):
        return 0
    penalty_ppm: uint256 = liquidation_math.penalty_ppm(
        self._priced(health),
        health.maintenance,
        (health.rules >> margin_words.PENALTY_MIN_AT) & margin_words.BITS_16,
        (health.rules >> margin_words.PENALTY_MAX_AT) & margin_words.BITS_20,
    )
    # Below two thirds of maintenance nobody waits: all of it is closed against the pool.
    size: uint256 = health.size
    if not liquidation_math.is_backstop(health.equity, health.maintenance):
        self._grace_over(market)
        size = self._needed(health, health.ratio_ppm, penalty_ppm, TARGET_PPM)
        size = self._paced(market, health, self._limited(health, size, max_size))
    log PositionLiquidated(
        position_id=position_id,
        caller=msg.sender,
        size=size,
        whole=size == health.size,
        penalty_ppm=penalty_ppm,
        equity=health.equity,
        maintenance=health.maintenance,
        action_hash=action_hash,
    )
    extcall engine.liquidate(
        position_id,
        size,
        penalty_ppm,
        self._available(health),
        (health.rules >> margin_words.REWARD_AT) & margin_words.BITS_24,
        msg.sender,
    )
    return size


@internal
def _waited(account: address, health: IMarginEngine.Health) -> bool:
    """
    @notice Whether an account that lacks only live prices has had its grace. The first call begins it. It serves for two
            minutes after its end; what is found later is another want.
    """
    begun_s: uint256 = self.graces[account]
    if block.timestamp >= begun_s + GRACE_S + NOTE_S:
        self.graces[account] = block.timestamp
        log GraceBegun(
            account=account,
            equity=health.equity,
            absent=health.absent,
            maintenance=health.maintenance,
        )
        return False
    # A freeze, or a feed that is silent for a minute, must not take what no price has taken.
    if block.timestamp < begun_s + GRACE_S:
        refusals.refuse(refusals.GRACE_RUNNING)
    return True


@internal
def _agreed(position_id: uint256, health: IMarginEngine.Health) -> bool:
    """
    @notice Whether every price that makes a position liquidatable was confirmed, where it is far from its average:
            its own market's, and in a cross account that of each other position which loses by it.
    @return False where one was noted now: nothing may be closed in this call.
    """
    market: uint256 = (position_id >> margin_words.ID_MARKET_AT) & MARKET_MASK
    states: uint256 = self._second_round(market, health.price, health.average, health.mark, health.rules)
    if position_id & MODE_MASK == margin_words.CROSS:
        states |= self._other_markets(convert(position_id >> margin_words.ID_ACCOUNT_AT, address), market)
    return self._may_go_on(states)


@internal
def _other_markets(account: address, market: uint256) -> uint256:
    """
    @notice Ask for second rounds in the markets of an account's other cross positions: a bad print in one market
            must not close what the account holds in another.
    @param account Whose they are.
    @param market The one that is asked already.
    @return What _second_round answers, all together.
    """
    states: uint256 = 0
    word: uint256 = 0
    balance: int256 = 0
    word, balance = staticcall engine.account(account)
    price: uint256 = 0
    average: uint256 = 0
    mark: uint256 = 0
    markets: uint256 = word >> margin_words.MARKETS_AT
    for i: uint256 in range((word >> margin_words.COUNT_AT) & margin_words.BITS_4, bound=margin_words.MAX_CROSS):
        other: uint256 = markets & MARKET_MASK
        markets = markets >> 16
        if other == market:
            continue
        price, average, mark = staticcall feed.mark(other)
        # No market's band is narrower, so its rules need not be read. As _near, whose call costs as much as it.
        distance: uint256 = unsafe_sub(price, average) if price > average else unsafe_sub(average, price)
        if unsafe_mul(distance, PPM) <= unsafe_mul(average, margin_words.LEAST_BAND_PPM):
            continue
        rules: uint256 = staticcall engine.rules(other)
        if self._near(price, average, rules >> margin_words.BAND_AT):
            continue
        # Who gains by a far price is not liquidatable because of it; so nobody delays by holding what jumps. And what
        # is settled counts at its last price, whatever the feed says.
        held: uint256 = margin_words.position_id(account, other, margin_words.CROSS)
        if self._is_long(held) == (price < average) and not self._is_settled(other):
            states |= self._second_round(other, price, average, mark, rules)
    return states


@internal
def _second_round(
    market: uint256, price: uint256, average: uint256, mark: uint256, rules: uint256
) -> uint256:
    """
    @notice Ask a market's price for confirmation. The first call at a far price notes it; a round of seconds later,
            or 30 s, confirm it: so a bad print closes nothing, and a crash is closed.
    @return 0 confirmed or near its average, NOTED, or WAITING.
    """
    if self._near(price, average, rules >> margin_words.BAND_AT):
        return 0
    above: bool = price > average
    slot: uint256 = self.pace[market]
    observed_ms: uint256 = (mark >> margin_words.OBSERVED_AT) & margin_words.BITS_48
    noted_s: uint256 = (slot >> NOTE_AT) & margin_words.BITS_40
    if block.timestamp < noted_s + NOTE_S and above == ((slot >> ABOVE_AT) & 1 != 0):
        # The same round again is no second one; but a feed that stands still delays nobody for more than 30 s.
        if (
            observed_ms < ((slot >> NOTE_OBSERVED_AT) & margin_words.BITS_44) + AGREES_MS
            and block.timestamp < noted_s + LONGEST_WAIT_S
        ):
            return WAITING
        return 0
    self.pace[market] = (
        (slot & WINDOW_MASK)
        | (observed_ms << NOTE_OBSERVED_AT)
        | (block.timestamp << NOTE_AT)
        | (convert(above, uint256) << ABOVE_AT)
    )
    log LiquidationDeferred(market=market, price=price, average=average, observed_ms=observed_ms)
    return NOTED


@internal
def _paced(market: uint256, health: IMarginEngine.Health, size: uint256) -> uint256:
    """
    @notice Limit a partial close to what is left of the market's window, and use the window.
    @param size What is needed.
    @return What may be closed now.
    """
    least: uint256 = self._min_notional(health)
    worth: uint256 = margin_math.notional_down(size, health.price)
    # Dust neither waits for the window nor uses it: many small calls cannot keep large ones out.
    if worth < least:
        return size
    slot: uint256 = self.pace[market]
    used: uint256 = slot & margin_words.BITS_64
    begun_s: uint256 = (slot >> WINDOW_BEGUN_AT) & margin_words.BITS_40
    if block.timestamp >= begun_s + WINDOW_S:
        used = 0
        begun_s = block.timestamp
    # A scale so small that its quarter is dust would let nobody be liquidated in part.
    capacity: uint256 = max(self._size_scale(health) // WINDOW_SHARE, least)
    left: uint256 = capacity - min(used, capacity)
    closed: uint256 = size
    if worth > left:
        # What the pool can hedge in a minute is used up; only who is below two thirds is closed beyond it.
        if left < least:
            refusals.refuse(refusals.WINDOW_USED_UP)
        closed = self._without_dust(health, left * E30 // health.price)
        worth = margin_math.notional_down(closed, health.price)
    used += worth
    self.pace[market] = ((slot >> NOTE_OBSERVED_AT) << NOTE_OBSERVED_AT) | (begun_s << WINDOW_BEGUN_AT) | used
    log WindowUsed(market=market, used=used, begun_s=begun_s)
    return closed


@internal
@pure
def _may_go_on(states: uint256) -> bool:
    """
    @param states What _second_round answered, one or several.
    @return False where a price was noted, which a refusal would undo.
    """
    if states & NOTED != 0:
        return False
    # Not before another round has said the same.
    if states != 0:
        refusals.refuse(refusals.AWAITING_SECOND_ROUND)
    return True


@internal
@pure
def _near(price: uint256, average: uint256, band_ppm: uint256) -> bool:
    """
    @return Whether a price is within a band around its five-minute average.
    """
    # Prices and averages have 113 bits at most: nothing wraps.
    distance: uint256 = unsafe_sub(price, average) if price > average else unsafe_sub(average, price)
    return unsafe_mul(distance, PPM) <= unsafe_mul(average, band_ppm)


@internal
@view
def _is_long(position_id: uint256) -> bool:
    """
    @return The side of a position.
    """
    first: uint256 = 0
    second: uint256 = 0
    third: uint256 = 0
    first, second, third = staticcall engine.position(position_id)
    return (first >> margin_words.LONG_AT) & 1 == 1


@internal
@view
def _is_settled(market: uint256) -> bool:
    """
    @return Whether a market stands at its settlement price for good.
    """
    sizes: uint256 = 0
    long_basis: int256 = 0
    short_basis: int256 = 0
    flow: uint256 = 0
    rules: uint256 = 0
    settlement: uint256 = 0
    pot: int256 = 0
    sizes, long_basis, short_basis, flow, rules, settlement, pot = staticcall engine.market(market)
    return flow >> margin_words.SETTLED_AT != 0


@internal
@view
def _health(position_id: uint256) -> IMarginEngine.Health:
    """
    @return How a position stands; refuses what is none, and what is settled.
    """
    health: IMarginEngine.Health = staticcall engine.health(position_id)
    # Bits above an id would name the same position twice.
    if position_id >> ID_BITS != 0 or health.size == 0:
        refusals.refuse(refusals.NO_POSITION)
    # At the settlement price, whatever the feed says, the whole position ends without cost.
    if health.settled:
        refusals.refuse(refusals.MARKET_SETTLED)
    return health


@internal
@view
def _may_be_closed(health: IMarginEngine.Health):
    """
    @notice Refuse while liquidation is paused, at an old price, and at one that the position was made at.
    """
    self._may_liquidate(health.margin, health.mark, health.rules)
    # Who opens and is liquidated at one price was chosen by whoever brought it.
    if (health.mark >> margin_words.OBSERVED_AT) & margin_words.BITS_48 <= health.stamp_ms:
        refusals.refuse(refusals.PRICE_BEFORE_POSITION)


@internal
@view
def _may_liquidate(margin: uint256, mark: uint256, rules: uint256):
    """
    @notice Refuse while liquidation is paused, and at an old price.
    """
    # The guardian may stop it for an hour in all: an error in the rule must not take everything.
    if margin & margin_words.MAY_LIQUIDATE == 0:
        refusals.refuse(refusals.LIQUIDATION_PAUSED)
    # An old price closes at what the market no longer is.
    age_s: uint256 = (rules >> margin_words.LIQUIDATION_AGE_AT) & margin_words.BITS_16
    oldest_ms: uint256 = (block.timestamp - age_s) * 1_000
    if (mark >> margin_words.OBSERVED_AT) & margin_words.BITS_48 < oldest_ms:
        refusals.refuse(refusals.PRICE_TOO_OLD)


@internal
@view
def _grace_over(market: uint256):
    """
    @notice Refuse for five minutes after a pause of liquidation or a gap in prices: traders could not act, or did
            not know.
    """
    since_s: uint256 = max(staticcall oracle.liquidation_resumes_at(market), staticcall feed.resumed_at(market))
    if since_s + GRACE_S > block.timestamp:
        refusals.refuse(refusals.GRACE_RUNNING)


@internal
@view
def _verified(
    action: IRiskOracle.PositionAction, signatures: DynArray[bytes32, 32], kind: uint8
) -> bytes32:
    """
    @return What the quorum signed; refuses what it did not, and another kind.
    """
    # Consent to one kind is none to another.
    if action.kind != kind:
        refusals.refuse(refusals.WRONG_ACTION_KIND)
    return staticcall oracle.verify_position_action(action, signatures)


@internal
@pure
def _meant_for(action: IRiskOracle.PositionAction, health: IMarginEngine.Health):
    """
    @notice Refuse an action that was signed for another version of the position, or for a better price.
    """
    # The version is the action's nonce: what changed size, side or terms since, or carried it out, voids it.
    if convert(action.position_version, uint256) != health.version:
        refusals.refuse(refusals.ACTION_VOID)
    bound: uint256 = convert(action.price_bound, uint256)
    # Closing a long sells, closing a short buys.
    if bound != 0 and (health.price < bound if health.long else health.price > bound):
        refusals.refuse(refusals.PRICE_BEYOND_BOUND)


@internal
@pure
def _observed_after(action: IRiskOracle.PositionAction, health: IMarginEngine.Health):
    """
    @notice Refuse a price that the signers knew: they, too, close at a price of later.
    """
    if (health.mark >> margin_words.OBSERVED_AT) & margin_words.BITS_48 <= convert(action.observed_at, uint256):
        refusals.refuse(refusals.PRICE_BEFORE_ACTION)


@internal
@pure
def _managed(health: IMarginEngine.Health):
    """
    @notice Refuse to adjust or deleverage a position whose owner paid for certainty.
    """
    if not health.managed:
        refusals.refuse(refusals.NOT_MANAGED)


@internal
@pure
def _needed(
    health: IMarginEngine.Health, ratio_ppm: uint256, penalty_ppm: uint256, target_ppm: uint256
) -> uint256:
    """
    @return The smallest close that restores the target; all of it where no part does, or where dust would stay.
    """
    cost_ppm: uint256 = liquidation_math.close_cost_ppm(
        liquidation_math.reach(health.long, health.size, health.skew),
        health.price,
        (health.rules & margin_words.BITS_16) + ((health.margin >> margin_words.SPREAD_AT) & margin_words.BITS_20),
        (health.rules >> margin_words.IMPACT_AT) & margin_words.BITS_20,
        self._size_scale(health),
    )
    size: uint256 = liquidation_math.partial_close_size(
        liquidation_math.Asked(
            size=health.size,
            price=health.price,
            maintenance_ppm=ratio_ppm,
            equity=health.equity,
            other_maintenance=health.maintenance - health.own_maintenance,
            cost_ppm=cost_ppm,
            penalty_ppm=penalty_ppm,
            target_ppm=target_ppm,
        )
    )
    return self._without_dust(health, size)


@internal
@pure
def _limited(health: IMarginEngine.Health, size: uint256, max_size: uint256) -> uint256:
    """
    @notice Hold a close to the size that was signed.
    """
    if size <= max_size:
        return size
    # More than signed is not theirs to allow, and a rest of dust would not pay for its own liquidation.
    if max_size == 0 or self._without_dust(health, max_size) != max_size:
        refusals.refuse(refusals.ACTION_VOID)
    return max_size


@internal
@pure
def _without_dust(health: IMarginEngine.Health, size: uint256) -> uint256:
    """
    @return The size; the whole position where less than the minimum would stay.
    """
    if margin_math.notional_down(health.size - size, health.price) < self._min_notional(health):
        return health.size
    return size


@internal
@pure
def _min_notional(health: IMarginEngine.Health) -> uint256:
    """
    @return The least that a position is worth, USDC e6.
    """
    return ((health.rules >> margin_words.MIN_NOTIONAL_AT) & margin_words.BITS_24) * USDC


@internal
@pure
def _size_scale(health: IMarginEngine.Health) -> uint256:
    """
    @return The size that the market bears, USDC e6.
    """
    return ((health.margin >> margin_words.SCALE_AT) & margin_words.BITS_48) * USDC


@internal
@pure
def _available(health: IMarginEngine.Health) -> uint256:
    """
    @return What cost and penalty may be taken from: never more than the position still has.
    """
    return convert(max(self._priced(health), 0), uint256)


@internal
@pure
def _priced(health: IMarginEngine.Health) -> int256:
    """
    @return Equity with the profit that has no live price. It is paid when its position is closed, so it pays for that:
            or a freeze would make liquidation cheaper than a close.
    """
    return health.equity + convert(health.absent, int256)


@internal
@view
def _side(market: uint256, long: bool, price: uint256) -> (uint256, uint256, uint256):
    """
    @notice From a side's aggregates, which are exact: its unrealised profit, funding included, rounded down.
    @return Profit in USDC e6 (0 for a loss), the market's funding word, its rules.
    """
    sizes: uint256 = 0
    long_basis: int256 = 0
    short_basis: int256 = 0
    flow: uint256 = 0
    rules: uint256 = 0
    settlement: uint256 = 0
    pot: int256 = 0
    sizes, long_basis, short_basis, flow, rules, settlement, pot = staticcall engine.market(market)
    net: int256 = convert(price, int256) - margin_words.index_now(flow)
    profit: int256 = short_basis - net * convert(sizes >> SHORT_AT, int256)
    if long:
        profit = net * convert(sizes & margin_words.SIZE_MASK, int256) - long_basis
    return convert(max(profit, 0), uint256) // E30, flow, rules


@internal
@view
def _countable(market: uint256, long: bool, flow: uint256, keep_e27: uint256):
    """
    @notice Refuse a cut after which the side's kept share is too small a number to divide by.
    """
    at: uint256 = margin_words.LONG_CUTS_AT if long else margin_words.SHORT_CUTS_AT
    number: uint256 = (flow >> at) & margin_words.BITS_15
    kept: uint256 = 0
    cash: int256 = 0
    kept, cash = staticcall engine.cut_at(market, long, number)
    if number == 0:
        kept = E27
    if kept * keep_e27 // E27 < LEAST_KEEP_E27:
        refusals.refuse(refusals.CUT_TOO_DEEP)
