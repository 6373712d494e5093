# pragma version 0.4.3
# pragma evm-version prague
# pragma optimize gas
"""
@title MarginEngine: the book of positions and accounts, cross and isolated, and the one lock of the system
@license Apache-2.0
@notice Traders deposit and withdraw here; the desk brings their orders, the liquidator closes what has too little
        margin. All positions are against the pool, at the feed's price. Every action ends with one settlement, in
        which the pool takes or gives exactly what the vault owes traders less or more.
@custom:kill The guardian pauses EVERYTHING in RiskOracle: nothing opens, closes or leaves; liquidation stops for an
             hour at most. Adding margin and depositing go on. A market whose price died is settled by the owner at
             its last price, after the timelock; then everybody's position there can be paid out. No tokens are here.
@dev Unchecked arithmetic where every operand is a bit field or a sum of few: amounts of money have less than 2**140
     units, sizes 120 bits, prices and bases 113, so nothing comes near 2**255; see margin_math. Checked wherever an
     argument comes from outside, or a subtraction is itself the guard.
     The home of the lock: `_enter` and `_leave`, one transient bit. Everything that moves money takes it, in vault and
     pool through `enter` and `leave`; so a token that calls back finds every door shut. State is written before any
     call to vault or pool. Words lie as margin_words says; arithmetic is margin_math, equal to contracts/margin*.py;
     contracts/book*.py is the exact reference model of this contract. No loop is over more than ten positions.
"""

from contracts import authority
from contracts import margin_math
from contracts import margin_words
from contracts import refusals
from contracts.interfaces import ICollateralVault
from contracts.interfaces import ILiquidityPool
from contracts.interfaces import ILock
from contracts.interfaces import IMarginEngine
from contracts.interfaces import IPriceFeed
from contracts.interfaces import IRiskOracle

implements: ILock
implements: IMarginEngine
initializes: authority

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
)

struct Position:
    size: uint256
    basis: int256  # entry price less the funding index at entry
    leverage_e2: uint256
    long: bool
    managed: bool
    adjusted: bool
    collateral: int256  # never below 0
    maintenance_ppm: uint256
    ceiling_ppm: uint256
    version: uint256
    stamp_ms: uint256


struct Reading:
    price: uint256
    average: uint256
    mark: uint256
    margin: uint256
    net: int256  # price less the funding index


struct Sums:
    margin: IMarginEngine.AccountMargin
    absent: uint256  # profit that only the want of a live price keeps out of equity
    permissions: uint256
    largest_market: uint256


# One action on one position, from the first read to the last write.
struct Trade:
    account: address
    market: uint256
    cross: bool
    id: uint256
    reading: Reading
    flow: uint256
    sizes: uint256
    rules: uint256
    was_open: bool  # as stored, before its cuts
    was_adjusted: bool
    collateral: int256  # as stored
    held: Position
    word: uint256  # the account's, as it will be
    balance: int256  # as it will be
    owed: int256  # growth of what the vault owes traders, this balance and this collateral apart
    profit: int256  # realised
    cost: uint256  # spread and impact of what was traded
    fee: uint256
    to_insurance: uint256
    shortfall: uint256


struct Market:
    sizes: uint256
    long_basis: int256
    short_basis: int256
    flow: uint256
    rules: uint256


struct Cut:
    keep_e27: uint256
    cash: int256


event BalanceChanged:
    account: indexed(address)
    balance: int256

event AccountChanged:
    account: indexed(address)
    word: uint256

event PositionChanged:
    position_id: indexed(uint256)
    word0: uint256
    word1: uint256

event PositionRamped:
    position_id: indexed(uint256)
    word2: uint256

event MarketChanged:
    market: indexed(uint256)
    sizes: uint256
    flow: uint256

event Filled:
    position_id: indexed(uint256)
    executor: indexed(address)
    buys: bool
    closed: uint256
    opened: uint256
    price: uint256
    price_paid: uint256
    profit: int256
    cost: uint256
    fee: uint256

event Liquidation:
    position_id: indexed(uint256)
    recipient: indexed(address)
    size: uint256
    price: uint256
    profit: int256
    cost: uint256
    penalty: uint256
    reward: uint256
    shortfall: uint256

event PositionSettled:
    position_id: indexed(uint256)
    size: uint256
    profit: int256

event CutsApplied:
    position_id: indexed(uint256)
    size: uint256
    cash: int256

event SideCut:
    market: indexed(uint256)
    long: bool
    number: uint256
    keep_e27: uint256
    cash: int256
    payout: uint256

event RulesChanged:
    market: indexed(uint256)
    rules: uint256

event SettlementBegun:
    market: indexed(uint256)
    price: uint256


MAX_MARKETS: constant(uint256) = 256  # what the pool's valuation can loop over
PPM: constant(uint256) = 1_000_000
USDC: constant(uint256) = 1_000_000
E27: constant(uint256) = 10**27
I30: constant(int256) = 10**30
FULL_E2_PPM: constant(uint256) = 100_000_000  # 1x times 100 %
HALF_PPM_E2: constant(uint256) = 50_000_000  # a market's target maintenance is this over its cap
INSURANCE_FEE_DIVISOR: constant(uint256) = 10  # a tenth of a fee, rounded down
SETTLEMENT_AGE_MS: constant(uint256) = 86_400_000  # a price this old is not coming back by itself
ALL_PERMISSIONS: constant(uint256) = 31
NO_MARKET: constant(uint256) = max_value(uint256)
MAX_CUTS: constant(uint256) = 32_767
LEAST_EXECUTION_FEE: constant(uint256) = 10_000  # USDC e6: what a keeper's transaction may cost
LEAST_KEEP_E27: constant(uint256) = 10**9  # below it, rounding would take more than 1e-9 of a share

feed: public(immutable(IPriceFeed))
oracle: public(immutable(IRiskOracle))
vault: public(immutable(ICollateralVault))
pool: public(immutable(ILiquidityPool))
desk: public(immutable(address))
liquidator: public(immutable(address))

# The lock: transient, so that it is open again whatever happened in the transaction.
held: transient(bool)

market_count: public(uint256)
debts: public(uint256)  # sum of what balances below 0 owe, USDC e6
positions: HashMap[uint256, uint256[3]]
accounts: HashMap[address, uint256]
balances: HashMap[address, int256]
markets: HashMap[uint256, Market]
settlement_prices: HashMap[uint256, uint256]
# What cuts have moved and positions not yet taken; below 0 while winners came before losers.
pots: HashMap[uint256, int256]
# by market << 16 | side << 15 | number; number 0 is the uncut side
cuts: HashMap[uint256, Cut]


@deploy
def __init__(
    feed_: address,
    oracle_: address,
    vault_: address,
    pool_: address,
    desk_: address,
    liquidator_: address,
    owner: address,
    guardian: address,
    timelock_s: uint256,
):
    """
    @param feed_ Prices. None of these need exist yet; check them after deployment.
    @param oracle_ Parameters and pauses.
    @param vault_ Holds the traders' USDC.
    @param pool_ The counterparty.
    @param desk_ Brings verified orders.
    @param liquidator_ Decides what is closed.
    @param owner Sets rules and begins settlements.
    @param guardian Has no power here; the authority module asks for one.
    @param timelock_s Seconds that a scheduled operation waits once launched.
    """
    authority.__init__(owner, guardian, timelock_s)
    # Without one of them money could come in and never out.
    if empty(address) in [feed_, oracle_, vault_, pool_, desk_, liquidator_]:
        refusals.refuse(refusals.ADDRESS_MISSING)
    feed = IPriceFeed(feed_)
    oracle = IRiskOracle(oracle_)
    vault = ICollateralVault(vault_)
    pool = ILiquidityPool(pool_)
    desk = desk_
    liquidator = liquidator_


@external
def enter():
    """
    @notice Take the lock for a call into vault or pool.
    """
    self._only_vault_or_pool()
    self._enter()


@external
def leave():
    """
    @notice Give the lock back.
    """
    self._only_vault_or_pool()
    self._leave()


@external
def deposit(amount: uint256):
    """
    @notice Add USDC from the caller's wallet, which has approved the vault, to its balance; a debt is paid first.
            Never paused.
    @param amount USDC e6.
    """
    self._enter()
    self._counts(amount)
    before: int256 = self.balances[msg.sender]
    owed: int256 = self._store_balance(msg.sender, before, before + convert(amount, int256))
    extcall vault.pull(msg.sender, amount)
    self._finish(owed - convert(amount, int256), 0, 0)


@external
def withdraw(amount: uint256):
    """
    @notice Pay from the caller's balance to its wallet. What open cross positions lock stays: at least max(initial
            margin, 10 % of notional), at prices widened by their confidence.
    @param amount USDC e6.
    """
    self._enter()
    self._counts(amount)
    self._check_withdrawals_open()
    before: int256 = self.balances[msg.sender]
    self._check_free(msg.sender, before, amount, True)
    self._store_balance(msg.sender, before, before - convert(amount, int256))
    extcall vault.pay(msg.sender, amount)
    self._leave()


@external
def add_margin(market: uint256, amount: uint256, from_wallet: bool):
    """
    @notice Add to the collateral of the caller's isolated position. Never paused; it voids no signed action.
    @param market Its id.
    @param amount USDC e6.
    @param from_wallet From the wallet, which has approved the vault; else from the balance, as far as it is free.
    """
    self._enter()
    self._counts(amount)
    trade: Trade = self._open_position(msg.sender, market, margin_words.ISOLATED)
    change: int256 = convert(amount, int256)
    if from_wallet:
        trade.owed -= change
    else:
        self._check_free(msg.sender, trade.balance, amount, False)
        trade.balance -= change
    trade.held.collateral = unsafe_add(trade.held.collateral, change)
    owed: int256 = self._store(trade)
    if from_wallet:
        extcall vault.pull(msg.sender, amount)
    self._finish(owed, 0, trade.shortfall)


@external
def remove_margin(market: uint256, amount: uint256):
    """
    @notice Take from the collateral of the caller's isolated position into its balance.
    @param market Its id.
    @param amount USDC e6.
    """
    self._enter()
    self._counts(amount)
    trade: Trade = self._priced_position(msg.sender, market, margin_words.ISOLATED)
    self._check_withdrawals_open()
    # Margin leaves only at a price that could carry a new position.
    self._check_ready(self._is_ready(trade.reading))
    if trade.reading.margin & margin_words.MAY_WITHDRAW == 0:
        refusals.refuse(refusals.WITHDRAWALS_PAUSED)
    price: uint256 = trade.reading.price
    size: uint256 = trade.held.size
    locked: uint256 = margin_math.locked_margin(
        margin_math.initial_margin(size, price, trade.held.leverage_e2), margin_math.notional_up(size, price)
    )
    widening: uint256 = margin_math.charge(size, price, trade.reading.mark & margin_words.BITS_20)
    # Profit keeps margin free, but nobody has paid it yet: only collateral can leave.
    change: int256 = convert(amount, int256)
    trade.held.collateral = unsafe_sub(trade.held.collateral, change)
    if trade.held.collateral < 0 or self._isolated_equity(trade) < convert(widening + locked, int256):
        refusals.refuse(refusals.MARGIN_LOCKED)
    trade.balance += change
    self._finish(self._store(trade), 0, trade.shortfall)


@external
def hold(account: address, nonce: uint256, market: uint256, mode: uint256, fee: uint256, margin: uint256):
    """
    @notice Desk only: use terms up, and hold what a request costs until it is executed or cancelled.
    @param account Whose request.
    @param nonce Of its terms, above the last one used; 0 without terms.
    @param market The order's.
    @param mode Isolated: fee and margin leave the balance into escrow. Cross: the fee is promised, and stays margin.
    @param fee USDC e6, for the executor.
    @param margin USDC e6, isolated only.
    """
    self._enter_as_desk()
    if nonce != 0:
        self._use_nonce(account, nonce)
    balance: int256 = self.balances[account]
    # The desk holds a fee to 24 bits and a margin to 64.
    held: uint256 = unsafe_add(fee, margin)
    if nonce == 0 or mode == margin_words.CROSS:
        word: uint256 = self.accounts[account]
        promised: uint256 = unsafe_add((word >> margin_words.PROMISED_AT) & margin_words.BITS_28, held)
        # For new risk, a promise that the balance cannot keep would be paid by the pool. A close may be owed for: no other
        # market's price, and nothing locked or lost there, keeps anybody in.
        short: bool = balance < convert(promised, int256)
        if nonce == 0 and (short or mode != margin_words.CROSS):
            short = not self._survives(account, word, balance, promised)
        if short:
            if nonce != 0 or mode == margin_words.CROSS:
                refusals.refuse(refusals.BALANCE_SHORT)
            self._hold_from_margin(account, market, fee)
            return
        if mode == margin_words.CROSS:
            if promised > margin_words.BITS_28:
                refusals.refuse(refusals.AMOUNT_OUT_OF_RANGE)
            self._store_account(account, unsafe_add(word, fee << margin_words.PROMISED_AT))
    else:
        self._check_free(account, balance, held, False)
    if mode != margin_words.CROSS:
        # It stays in the vault: what is owed to traders grows only by what the balance did not have.
        taken: int256 = convert(held, int256)
        self._finish(unsafe_add(taken, self._store_balance(account, balance, unsafe_sub(balance, taken))), 0, 0)
    else:
        self._leave()


@external
def unhold(account: address, mode: uint256, fee: uint256, margin: uint256):
    """
    @notice Desk only: give a lapsed request's margin back; its fee goes to insurance. In a cross account the fee is
            taken only where it can be paid without anything becoming liquidatable.
    @param account Whose request.
    @param mode As held.
    @param fee As held.
    @param margin As held.
    """
    self._enter_as_desk()
    balance: int256 = self.balances[account]
    owed: int256 = 0
    taken: uint256 = fee
    if mode == margin_words.CROSS:
        word: uint256 = self.accounts[account] - (fee << margin_words.PROMISED_AT)
        self._store_account(account, word)
        if not self._survives(account, word, balance, fee):
            taken = 0
        if taken != 0:
            owed = self._store_balance(account, balance, balance - convert(taken, int256))
    else:
        owed = -convert(fee + margin, int256)
        if margin != 0:
            owed += self._store_balance(account, balance, balance + convert(margin, int256))
    self._finish(owed, taken, 0)


@external
def execute(order: IMarginEngine.Order):
    """
    @notice Desk only: execute an order at the price that the feed has now. Against a position it closes first, then,
            unless it only reduces, opens the rest; each leg at its own costs, judged together by the price paid.
    @param order As the desk verified it; what it holds becomes the executor's fee and the position's margin.
    """
    self._enter_as_desk()
    trade: Trade = self._begin(order.account, order.market, order.mode)
    self._check_window(trade, order.not_before_ms, order.not_after_ms)
    trade = self._touch(trade)
    closing: uint256 = 0
    if trade.held.size != 0 and trade.held.long != order.long:
        closing = min(order.size, trade.held.size)
    opening: uint256 = 0
    if not order.reduce_only:
        opening = unsafe_sub(order.size, closing)
    elif closing == 0:
        refusals.refuse(refusals.NOTHING_TO_REDUCE)
    # What the request held is free: the fee for the executor, the margin for what is opened, or back.
    if trade.cross:
        trade.word -= order.fee << margin_words.PROMISED_AT
        trade.balance = unsafe_sub(trade.balance, convert(order.fee, int256))
    else:
        trade.owed = unsafe_sub(trade.owed, convert(order.fee + order.margin, int256))
        if opening == 0:
            trade.balance = unsafe_add(trade.balance, convert(order.margin, int256))
    if closing != 0:
        trade = self._close(trade, closing)
    if opening != 0:
        trade = self._open(trade, order, opening)
    paid: uint256 = margin_math.price_paid(order.long, closing + opening, trade.reading.price, trade.cost)
    # A cost that leaves a seller nothing has no price; and nobody pays more than he said, or sells for less.
    if paid == 0 or (paid > order.acceptable_price if order.long else paid < order.acceptable_price):
        refusals.refuse(refusals.PRICE_NOT_ACCEPTABLE)
    trade = self._reindexed(trade)
    trade = self._stamped(trade)
    owed: int256 = self._store(trade)
    log Filled(
        position_id=trade.id,
        executor=order.executor,
        buys=order.long,
        closed=closing,
        opened=opening,
        price=trade.reading.price,
        price_paid=paid,
        profit=trade.profit,
        cost=trade.cost,
        fee=trade.fee,
    )
    self._check_margin(trade, opening != 0)
    self._finish(
        unsafe_add(owed, self._credit(order.executor, order.fee)), trade.to_insurance, trade.shortfall
    )


@external
def retune(
    account: address,
    market: uint256,
    mode: uint256,
    nonce: uint256,
    leverage_e2: uint256,
    managed: bool,
    maintenance_ppm: uint256,
    ceiling_ppm: uint256,
):
    """
    @notice Desk only: put an open position under new terms, judged as an opening of nothing more.
    @param account Whose position.
    @param market Its id.
    @param mode 1 isolated, 2 cross.
    @param nonce Of the terms, above the last one used.
    @param leverage_e2 What initial margin is asked by from now on.
    @param managed Whether its maintenance follows the market's, up to the ceiling.
    @param maintenance_ppm The terms' ratio.
    @param ceiling_ppm The most that a managed one accepts.
    """
    self._enter_as_desk()
    self._use_nonce(account, nonce)
    trade: Trade = self._priced_position(account, market, mode)
    self._check_living(trade.flow)
    self._check_may_open(trade.reading)
    trade.held = self._under_terms(trade.held, leverage_e2, managed, maintenance_ppm, ceiling_ppm)
    self._check_terms(trade)
    trade.held.version += 1
    owed: int256 = self._store(trade)
    self._check_margin(trade, True)
    self._finish(owed, 0, trade.shortfall)


@external
def liquidate(
    position_id: uint256,
    size: uint256,
    penalty_ppm: uint256,
    available: uint256,
    reward: uint256,
    recipient: address,
) -> IMarginEngine.Liquidated:
    """
    @notice Liquidator only: close a part of a position, or all of it, for what it costs and a penalty, both only from
            what there is, the cost first. What a whole close leaves is the trader's; what it lacks is a loss of
            insurance, then of the pool.
    @param position_id Which.
    @param size At most the position's.
    @param penalty_ppm Of the closed notional.
    @param available What cost and penalty may come from, USDC e6: the equity of the position, in cross of the account.
    @param reward The caller's fixed reward, USDC e6; never more than the penalty that was taken.
    @param recipient Whose balance gets the reward.
    """
    self._enter_as_liquidator()
    trade: Trade = self._touch(
        self._begin(self._holder(position_id), self._market_of(position_id), position_id & 255)
    )
    self._exists(trade)
    closed: uint256 = min(size, trade.held.size)
    price: uint256 = trade.reading.price
    # Never widened: a liquidation takes what closing costs, and its price is not the trader's choice.
    trade = self._costed(trade, not trade.held.long, closed, 0)
    trade = self._reduced(trade, closed)
    own: int256 = unsafe_add(trade.profit, trade.held.collateral)
    most: uint256 = available
    if not trade.cross:
        # A part realises its own profit only: what the rest is worth is not money yet.
        most = min(available, convert(max(own, 0), uint256))
    done: IMarginEngine.Liquidated = empty(IMarginEngine.Liquidated)
    done.profit = trade.profit
    done.cost = min(unsafe_add(trade.cost, trade.fee), most)
    done.penalty = min(margin_math.charge(closed, price, penalty_ppm), unsafe_sub(most, done.cost))
    done.reward = min(reward, done.penalty)
    trade = self._left_over(trade, unsafe_sub(own, convert(unsafe_add(done.cost, done.penalty), int256)))
    # Of a liquidation's cost all is the pool's.
    trade.to_insurance = unsafe_sub(done.penalty, done.reward)
    trade = self._reindexed(trade)
    trade = self._stamped(trade)
    trade = self._forgiven(trade)
    done.shortfall = trade.shortfall
    owed: int256 = self._store(trade)
    log Liquidation(
        position_id=position_id,
        recipient=recipient,
        size=closed,
        price=price,
        profit=done.profit,
        cost=done.cost,
        penalty=done.penalty,
        reward=done.reward,
        shortfall=done.shortfall,
    )
    self._finish(
        unsafe_add(owed, self._credit(recipient, done.reward)), trade.to_insurance, trade.shortfall
    )
    return done


@external
def adjust(position_id: uint256, from_ppm: uint256, target_ppm: uint256, ramp_s: uint256, ai_epoch: uint256):
    """
    @notice Liquidator only: ramp a managed position's ratio. Its version grows, so an action serves once.
    @param position_id Which.
    @param from_ppm Its live ratio.
    @param target_ppm Where it goes; its ceiling holds whatever this is.
    @param ramp_s How long it takes.
    @param ai_epoch The epoch in which it runs: when that ends, it stands still.
    """
    self._enter_as_liquidator()
    word: uint256 = self.positions[position_id][0] | margin_words.ADJUSTED_BIT
    if word & margin_words.SIZE_MASK == 0:
        refusals.refuse(refusals.NO_POSITION)
    second: uint256 = self.positions[position_id][1] + (1 << margin_words.VERSION_AT)
    third: uint256 = (
        from_ppm
        | (target_ppm << margin_words.TARGET_AT)
        | (block.timestamp << margin_words.BEGUN_AT)
        | (ramp_s << margin_words.RAMP_AT)
        | (ai_epoch << margin_words.EPOCH_AT)
    )
    self.positions[position_id] = [word, second, third]
    log PositionRamped(position_id=position_id, word2=third)
    log PositionChanged(position_id=position_id, word0=word, word1=second)
    self._leave()


@external
def cut(market: uint256, long: bool, keep_e27: uint256) -> uint256:
    """
    @notice Liquidator only: close the same share of every position of a side at the mark, without cost, in constant
            work. Each position takes its part when it is next touched, and is counted so in every view before.
    @param market Its id.
    @param long The side.
    @param keep_e27 What is kept of each position, x 1e27.
    @return USDC e6 that the pool paid into the side's pot.
    """
    self._enter_as_liquidator()
    trade: Trade = self._begin(empty(address), market, margin_words.ISOLATED)
    at: uint256 = margin_words.LONG_CUTS_AT if long else margin_words.SHORT_CUTS_AT
    number: uint256 = (trade.flow >> at) & margin_words.BITS_15
    last: Cut = self._cut_at(market, long, number)
    kept: uint256 = last.keep_e27 * keep_e27 // E27
    # The field's end: the next number would be a neighbour's. And of a kept share too small, rounding takes too much.
    if number == MAX_CUTS or kept < LEAST_KEEP_E27:
        refusals.refuse(refusals.CUT_TOO_DEEP)
    payout: uint256 = self._cut_aggregates(trade, long, last.keep_e27, kept)
    trade.sizes = self.markets[market].sizes
    cash: int256 = last.cash + convert(last.keep_e27 - kept, int256) * trade.reading.net
    self.cuts[self._cut_key(market, long, number + 1)] = Cut(keep_e27=kept, cash=cash)
    self.pots[market] += convert(payout, int256)
    trade.flow += 1 << at
    trade = self._reindexed(trade)
    log SideCut(market=market, long=long, number=number + 1, keep_e27=kept, cash=cash, payout=payout)
    self._finish(convert(payout, int256), 0, 0)
    return payout


@external
def settle(account: address, market: uint256, mode: uint256):
    """
    @notice Close a position of a settled market at its settlement price, without cost. Anybody may.
    @param account Whose.
    @param market Its id.
    @param mode 1 isolated, 2 cross.
    """
    self._enter()
    trade: Trade = self._priced_position(account, market, mode)
    # Elsewhere a position is closed by its owner's order, at a price of later.
    if trade.flow >> margin_words.SETTLED_AT == 0:
        refusals.refuse(refusals.NOT_SETTLED)
    size: uint256 = trade.held.size
    trade = self._reduced(trade, size)
    trade = self._left_over(trade, unsafe_add(trade.profit, trade.held.collateral))
    trade.held.version = unsafe_add(trade.held.version, 1)
    trade = self._forgiven(trade)
    self.markets[market].sizes = trade.sizes
    owed: int256 = self._store(trade)
    log MarketChanged(market=market, sizes=trade.sizes, flow=trade.flow)
    log PositionSettled(position_id=trade.id, size=size, profit=trade.profit)
    self._finish(owed, 0, trade.shortfall)


@external
def catch_up(position_id: uint256):
    """
    @notice Give a position what cuts of its side have left and paid it. Anybody may; it changes nobody's equity.
    @param position_id Which.
    """
    self._enter()
    trade: Trade = self._touch(
        self._trade(self._holder(position_id), self._market_of(position_id), position_id & 255)
    )
    # One that the cuts rounded away is still to be paid out.
    if not trade.was_open:
        refusals.refuse(refusals.NO_POSITION)
    trade = self._forgiven(trade)
    self._finish(self._store(trade), 0, trade.shortfall)


@external
def set_rules(market: uint256, rules: uint256):
    """
    @notice Set a market's rules; the next market's open it. Owner, timelocked.
    @param market Its id, the same as in feed and oracle, which know it already.
    @param rules As margin_words names them.
    """
    authority._only_owner()
    authority._consume(keccak256(slice(msg.data, 0, 68)))
    self._enter()
    count: uint256 = self.market_count
    # The pool's valuation loops over all of them.
    if market >= MAX_MARKETS:
        refusals.refuse(refusals.TOO_MANY_MARKETS)
    if market > count:
        refusals.refuse(refusals.MARKET_OUT_OF_ORDER)
    flow: uint256 = self.markets[market].flow
    # Fixed for ever: what was promised to its positions stands.
    self._check_living(flow)
    # A market that feed or oracle does not know refuses here, not at its first order.
    reading: Reading = self._reading(market, 0)
    floor_ppm: uint256 = (reading.margin >> margin_words.FLOOR_AT) & margin_words.BITS_20
    if not self._sound(rules, floor_ppm):
        refusals.refuse(refusals.RULES_INVALID)
    if market == count:
        self.market_count = count + 1
        flow = block.timestamp << margin_words.AT_S_AT
        self.markets[market].flow = flow
        log MarketChanged(market=market, sizes=0, flow=flow)
    self.markets[market].rules = rules
    log RulesChanged(market=market, rules=rules)
    self._leave()


@external
def begin_settlement(market: uint256):
    """
    @notice Fix a market for ever at the feed's last good price, a day after that price at the earliest. Owner,
            timelocked. From then on anybody may settle its positions, one by one.
    @param market Its id.
    """
    authority._only_owner()
    authority._consume(keccak256(slice(msg.data, 0, 36)))
    self._enter()
    flow: uint256 = self.markets[market].flow
    self._rules(market)
    self._check_living(flow)
    reading: Reading = self._reading(market, flow)
    observed_ms: uint256 = (reading.mark >> margin_words.OBSERVED_AT) & margin_words.BITS_48
    # There is no last good price where there never was one.
    self._check_ready(observed_ms != 0)
    # While prices come, the market decides what a position is worth, and not the owner.
    if block.timestamp * 1_000 < observed_ms + SETTLEMENT_AGE_MS:
        refusals.refuse(refusals.PRICE_STILL_YOUNG)
    self.settlement_prices[market] = reading.price
    kept: uint256 = flow & ((margin_words.BITS_15 << margin_words.LONG_CUTS_AT) | (margin_words.BITS_15 << margin_words.SHORT_CUTS_AT))
    flow = (
        kept
        | margin_words.signed_112(margin_words.index_now(flow))
        | (block.timestamp << margin_words.AT_S_AT)
        | (1 << margin_words.SETTLED_AT)
    )
    self.markets[market].flow = flow
    log SettlementBegun(market=market, price=reading.price)
    log MarketChanged(market=market, sizes=self.markets[market].sizes, flow=flow)
    self._leave()


@external
@view
def health(position_id: uint256) -> IMarginEngine.Health:
    """
    @notice How a position stands now, its cuts applied; size 0 where there is none. A cross one with its account's
            equity and maintenance, and the market that is liquidated first.
    @param position_id Which.
    """
    account: address = self._holder(position_id)
    market: uint256 = self._market_of(position_id)
    rules: uint256 = self._rules(market)
    flow: uint256 = self.markets[market].flow
    sizes: uint256 = self.markets[market].sizes
    reading: Reading = self._reading(market, flow)
    held: Position = empty(Position)
    cash: int256 = 0
    held, cash = self._position(position_id, market, flow)
    ratio_ppm: uint256 = self._ratio(held, position_id, reading.margin)
    own: uint256 = margin_math.charge(held.size, reading.price, ratio_ppm)
    found: IMarginEngine.Health = IMarginEngine.Health(
        equity=0,
        maintenance=own,
        own_maintenance=own,
        size=held.size,
        long=held.long,
        managed=held.managed,
        ratio_ppm=ratio_ppm,
        ceiling_ppm=held.ceiling_ppm,
        version=held.version,
        stamp_ms=held.stamp_ms,
        price=reading.price,
        average=reading.average,
        mark=reading.mark,
        margin=reading.margin,
        rules=rules,
        skew=self._skew(sizes),
        settled=flow >> margin_words.SETTLED_AT != 0,
        largest_market=market,
        absent=0,
    )
    if position_id & 255 == margin_words.CROSS:
        sums: Sums = self._sums(account, self.accounts[account], self.balances[account], market, reading, True)
        found.equity = sums.margin.equity
        found.maintenance = sums.margin.maintenance
        found.absent = sums.absent
        if sums.largest_market != NO_MARKET:
            found.largest_market = sums.largest_market
        return found
    profit: int256 = margin_math.profit(held.long, held.size, held.basis, reading.net)
    found.equity = max(held.collateral + cash, 0) + profit
    return found


@external
@view
def account_margin(account: address) -> IMarginEngine.AccountMargin:
    """
    @notice The sums of a cross account now, cuts applied.
    @param account Whose.
    """
    sums: Sums = self._sums(
        account, self.accounts[account], self.balances[account], NO_MARKET, empty(Reading), False
    )
    return sums.margin


@external
@view
def position(position_id: uint256) -> (uint256, uint256, uint256):
    """
    @notice A position's words as stored: cuts since it was last touched are not applied.
    @param position_id Which.
    """
    words: uint256[3] = self.positions[position_id]
    return words[0], words[1], words[2]


@external
@view
def account(account: address) -> (uint256, int256):
    """
    @notice An account's word and its balance, USDC e6.
    @param account Whose.
    """
    return self.accounts[account], self.balances[account]


@external
@view
def market(market: uint256) -> (uint256, int256, int256, uint256, uint256, uint256, int256):
    """
    @notice A market's words: sizes, sums of size x basis of longs and shorts, funding, rules; its settlement price
            (0 while it lives) and its pot.
    @param market Its id.
    """
    words: Market = self.markets[market]
    return (
        words.sizes,
        words.long_basis,
        words.short_basis,
        words.flow,
        words.rules,
        self.settlement_prices[market],
        self.pots[market],
    )


@external
@view
def cut_at(market: uint256, long: bool, number: uint256) -> (uint256, int256):
    """
    @notice A side after a cut: what is kept of it since before the first (x 1e27), and the cash that was paid.
    @param market Its id.
    @param long The side.
    @param number Of the cut; 0 before the first.
    """
    found: Cut = self._cut_at(market, long, number)
    return found.keep_e27, found.cash


@external
@view
def rules(market: uint256) -> uint256:
    """
    @param market Its id.
    @return Its rules, 0 where it has none.
    """
    return self.markets[market].rules


@internal
def _enter():
    """
    @notice Take the lock.
    """
    # Whoever comes back in from inside an action would see, or move, money that is not settled yet.
    if self.held:
        refusals.refuse(refusals.REENTERED)
    self.held = True


@internal
def _leave():
    """
    @notice Give the lock back.
    """
    self.held = False


@internal
@view
def _only_vault_or_pool():
    """
    @notice Refuse anybody else: it could leave the whole system locked for the transaction, or open it in the middle of
            an action.
    """
    if msg.sender != vault.address and msg.sender != pool.address:
        refusals.refuse(refusals.NOT_POOL)


@internal
def _enter_as_desk():
    """
    @notice Take the lock; refuse anybody but the desk, which has verified what it brings.
    """
    if msg.sender != desk:
        refusals.refuse(refusals.NOT_DESK)
    self._enter()


@internal
def _enter_as_liquidator():
    """
    @notice Take the lock; refuse anybody but the liquidator, which has judged what it closes.
    """
    if msg.sender != liquidator:
        refusals.refuse(refusals.NOT_LIQUIDATOR)
    self._enter()


@internal
@pure
def _counts(amount: uint256):
    """
    @notice Refuse an action without effect, and an amount that no token could have.
    """
    if amount == 0:
        refusals.refuse(refusals.AMOUNT_ZERO)
    # So far below 2**255 that no sum of amounts can pass it; the pool's slot holds no more either.
    if amount >> 96 != 0:
        refusals.refuse(refusals.AMOUNT_OUT_OF_RANGE)


@internal
@view
def _check_withdrawals_open():
    """
    @notice Refuse to let money out while a doubt about the books holds it.
    """
    if not staticcall oracle.withdrawals_open():
        refusals.refuse(refusals.WITHDRAWALS_PAUSED)


@internal
@pure
def _holder(position_id: uint256) -> address:
    """
    @return Whose position it is.
    """
    # An id has 184 bits; what is longer names nobody's.
    if position_id >> 184 != 0:
        refusals.refuse(refusals.NO_POSITION)
    return convert(position_id >> margin_words.ID_ACCOUNT_AT, address)


@internal
@pure
def _market_of(position_id: uint256) -> uint256:
    """
    @return The market that a position is in.
    """
    return (position_id >> margin_words.ID_MARKET_AT) & margin_words.BITS_16


@internal
@view
def _rules(market: uint256) -> uint256:
    """
    @return A market's rules; refuses one that the owner has not opened.
    """
    rules: uint256 = self.markets[market].rules
    if rules == 0:
        refusals.refuse(refusals.UNKNOWN_MARKET)
    return rules


@internal
@pure
def _check_living(flow: uint256):
    """
    @notice Refuse what a settled market does not do any more.
    @param flow Its funding word.
    """
    if flow >> margin_words.SETTLED_AT != 0:
        refusals.refuse(refusals.MARKET_SETTLED)


@internal
@pure
def _exists(trade: Trade):
    """
    @notice Refuse a position that is not there, or of which cuts left nothing.
    """
    if trade.held.size == 0:
        refusals.refuse(refusals.NO_POSITION)


@internal
@pure
def _is_ready(reading: Reading) -> bool:
    """
    @return Whether a price may carry new risk, and its market is neither frozen nor paused.
    """
    return (
        reading.mark & margin_words.NEW_RISK_BIT != 0 and reading.margin & margin_words.HALTED_BIT == 0
    )


@internal
@pure
def _check_ready(ready: bool):
    """
    @notice Refuse what waits for a better price.
    """
    if not ready:
        refusals.refuse(refusals.PRICE_NOT_READY)


@internal
@view
def _reading(market: uint256, flow: uint256) -> Reading:
    """
    @notice Read a market outside of the book. A settled one stands at its last price, for good.
    @param flow Its funding word.
    """
    margin: uint256 = staticcall oracle.margin(market)
    price: uint256 = 0
    average: uint256 = 0
    mark: uint256 = 0
    if flow >> margin_words.SETTLED_AT != 0:
        price = self.settlement_prices[market]
        average = price
        mark = margin_words.FRESH_BIT | margin_words.NEW_RISK_BIT
        # Nothing that stops a market matters where nothing moves any more.
        margin = (margin & ~margin_words.HALTED_BIT) | ALL_PERMISSIONS
    else:
        price, average, mark = staticcall feed.mark(market)
    return Reading(
        price=price,
        average=average,
        mark=mark,
        margin=margin,
        net=unsafe_sub(convert(price, int256), margin_words.index_now(flow)),
    )


@internal
@pure
def _cut_key(market: uint256, long: bool, number: uint256) -> uint256:
    """
    @return Where a side's cut is stored.
    """
    return (market << 16) | (convert(long, uint256) << 15) | number


@internal
@view
def _cut_at(market: uint256, long: bool, number: uint256) -> Cut:
    """
    @return A side after a cut; number 0 is the uncut side.
    """
    if number == 0:
        return Cut(keep_e27=E27, cash=0)
    return self.cuts[self._cut_key(market, long, number)]


@internal
@pure
def _cuts_of(flow: uint256, long: bool) -> uint256:
    """
    @return How often a side was cut.
    """
    return (flow >> (margin_words.LONG_CUTS_AT if long else margin_words.SHORT_CUTS_AT)) & margin_words.BITS_15


@internal
@view
def _position(position_id: uint256, market: uint256, flow: uint256) -> (Position, int256):
    """
    @notice Read a position, its cuts applied to the size.
    @return The position, and what its cuts have paid it or taken, USDC e6.
    """
    word: uint256 = self.positions[position_id][0]
    more: uint256 = self.positions[position_id][1]
    long: bool = word & margin_words.LONG_BIT != 0
    held: Position = Position(
        size=word & margin_words.SIZE_MASK,
        basis=margin_words.basis(word),
        leverage_e2=(word >> margin_words.LEVERAGE_AT) & margin_words.BITS_16,
        long=long,
        managed=word & margin_words.MANAGED_BIT != 0,
        adjusted=word & margin_words.ADJUSTED_BIT != 0,
        collateral=convert(convert(more & margin_words.BITS_64, bytes32), int256),
        maintenance_ppm=(more >> margin_words.MAINTENANCE_AT) & margin_words.BITS_20,
        ceiling_ppm=(more >> margin_words.CEILING_AT) & margin_words.BITS_20,
        version=(more >> margin_words.VERSION_AT) & margin_words.BITS_32,
        stamp_ms=(more >> margin_words.STAMP_AT) & margin_words.BITS_44,
    )
    number: uint256 = self._cuts_of(flow, long)
    if held.size == 0 or more >> margin_words.CUTS_AT == number:
        return held, 0
    before: Cut = self._cut_at(market, long, more >> margin_words.CUTS_AT)
    now: Cut = self._cut_at(market, long, number)
    cash: int256 = margin_math.cut_cash(
        long, held.size, held.basis, before.keep_e27, now.keep_e27, now.cash - before.cash
    )
    held.size = margin_math.cut_size(held.size, before.keep_e27, now.keep_e27)
    return held, cash


@internal
@view
def _ratio(held: Position, position_id: uint256, margin: uint256) -> uint256:
    """
    @notice position_maintenance_ppm: what an open position keeps now. Fixed: the ratio of its terms. Managed: min(
            ceiling, max(terms, market as ramped now, ADJUST as ramped now)).
    @param margin RiskOracle.margin's word.
    """
    if not held.managed:
        return held.maintenance_ppm
    asked: uint256 = max(
        held.maintenance_ppm, (margin >> margin_words.EFFECTIVE_AT) & margin_words.BITS_20
    )
    if held.adjusted:
        asked = max(asked, self._adjusted_ppm(position_id))
    return min(held.ceiling_ppm, asked)


@internal
@view
def _adjusted_ppm(position_id: uint256) -> uint256:
    """
    @return An ADJUST as ramped now; it stands still since its AI-input epoch ended.
    """
    ramp: uint256 = self.positions[position_id][2]
    return margin_math.ramped_ppm(
        ramp & margin_words.BITS_20,
        (ramp >> margin_words.TARGET_AT) & margin_words.BITS_20,
        staticcall oracle.ramp_elapsed_s(
            ramp >> margin_words.EPOCH_AT, (ramp >> margin_words.BEGUN_AT) & margin_words.BITS_40
        ),
        (ramp >> margin_words.RAMP_AT) & margin_words.BITS_24,
    )


@internal
@view
def _sums(
    account: address, word: uint256, balance: int256, known: uint256, reading: Reading, seek: bool
) -> Sums:
    """
    @notice Add up a cross account, at most ten positions. Without a live price a loss counts in full, a profit not.
    @param word The account's.
    @param balance Its balance.
    @param known A market that was read already; NO_MARKET for none.
    @param reading Of that market.
    @param seek Whether to look for the market that is liquidated first: largest maintenance among those whose price
           and pauses allow it now, of equal ones the first in the list; NO_MARKET where there is none.
    """
    sums: Sums = empty(Sums)
    sums.margin.ready = True
    sums.permissions = ALL_PERMISSIONS
    sums.largest_market = NO_MARKET
    sums.margin.balance = balance
    sums.margin.equity = balance
    sums.margin.opening_equity = balance
    most: uint256 = 0
    markets: uint256 = word >> margin_words.MARKETS_AT
    for i: uint256 in range((word >> margin_words.COUNT_AT) & margin_words.BITS_4, bound=10):
        market: uint256 = markets & margin_words.BITS_16
        markets = markets >> 16
        flow: uint256 = self.markets[market].flow
        now: Reading = reading
        if market != known:
            now = self._reading(market, flow)
        position_id: uint256 = margin_words.position_id(account, market, margin_words.CROSS)
        held: Position = empty(Position)
        cash: int256 = 0
        held, cash = self._position(position_id, market, flow)
        profit: int256 = margin_math.profit(held.long, held.size, held.basis, now.net)
        carried: int256 = profit
        if profit > 0:
            if now.mark & margin_words.FRESH_BIT == 0 or now.margin & margin_words.HALTED_BIT != 0:
                sums.absent = unsafe_add(sums.absent, convert(profit, uint256))
                profit = 0
            share_ppm: uint256 = (now.margin >> margin_words.PROFIT_SHARE_AT) & margin_words.BITS_20
            carried = convert(unsafe_div(unsafe_mul(convert(profit, uint256), share_ppm), PPM), int256)
        sums.margin.equity = unsafe_add(sums.margin.equity, unsafe_add(profit, cash))
        sums.margin.opening_equity = unsafe_add(sums.margin.opening_equity, unsafe_add(carried, cash))
        worth: uint256 = unsafe_mul(held.size, now.price)
        sums.margin.initial = unsafe_add(sums.margin.initial, margin_math.initial_of(worth, held.leverage_e2))
        ratio_ppm: uint256 = held.maintenance_ppm
        if held.managed:
            ratio_ppm = self._ratio(held, position_id, now.margin)
        maintenance: uint256 = margin_math.charge_of(worth, ratio_ppm)
        sums.margin.maintenance = unsafe_add(sums.margin.maintenance, maintenance)
        sums.margin.notional = unsafe_add(sums.margin.notional, margin_math.ceil_div(worth, margin_math.E30))
        sums.margin.widening = unsafe_add(sums.margin.widening, margin_math.charge_of(worth, now.mark & margin_words.BITS_20))
        sums.permissions &= now.margin
        if now.mark & margin_words.NEW_RISK_BIT == 0 or now.margin & margin_words.HALTED_BIT != 0:
            sums.margin.ready = False
        if seek and maintenance > most and self._may_be_liquidated(market, flow, now, held.stamp_ms):
            most = maintenance
            sums.largest_market = market
    return sums


@internal
@view
def _may_be_liquidated(market: uint256, flow: uint256, reading: Reading, stamp_ms: uint256) -> bool:
    """
    @return Whether liquidation may touch a position now: permitted, at a young price, of later than the position.
    """
    observed_ms: uint256 = (reading.mark >> margin_words.OBSERVED_AT) & margin_words.BITS_48
    age_s: uint256 = (self.markets[market].rules >> margin_words.LIQUIDATION_AGE_AT) & margin_words.BITS_16
    return (
        reading.margin & margin_words.MAY_LIQUIDATE != 0
        and flow >> margin_words.SETTLED_AT == 0
        and unsafe_add(observed_ms, unsafe_mul(age_s, 1_000)) >= unsafe_mul(block.timestamp, 1_000)
        and observed_ms > stamp_ms
    )


@internal
@view
def _check_free(account: address, balance: int256, amount: uint256, pauses: bool):
    """
    @notice Refuse to take from a balance what it does not have, what is promised, and what open positions lock.
    @param pauses Whether a market's pause of withdrawals counts; where the money stays in the vault it does not.
    """
    word: uint256 = self.accounts[account]
    taken: int256 = convert(((word >> margin_words.PROMISED_AT) & margin_words.BITS_28) + amount, int256)
    if balance < taken:
        refusals.refuse(refusals.BALANCE_SHORT)
    if (word >> margin_words.COUNT_AT) & margin_words.BITS_4 == 0:
        return
    sums: Sums = self._sums(account, word, balance, NO_MARKET, empty(Reading), False)
    # A price that cannot carry a new position cannot say what is free either.
    self._check_ready(sums.margin.ready)
    if pauses and sums.permissions & margin_words.MAY_WITHDRAW == 0:
        refusals.refuse(refusals.WITHDRAWALS_PAUSED)
    locked: uint256 = margin_math.locked_margin(sums.margin.initial, sums.margin.notional)
    if sums.margin.equity - taken < convert(sums.margin.widening + locked, int256):
        refusals.refuse(refusals.MARGIN_LOCKED)


@internal
@view
def _survives(account: address, word: uint256, balance: int256, fee: uint256) -> bool:
    """
    @return Whether an account can pay a fee without anything becoming liquidatable by it; one without cross positions
            out of its balance.
    """
    sums: Sums = self._sums(account, word, balance, NO_MARKET, empty(Reading), False)
    return sums.margin.equity - convert(fee, int256) >= convert(sums.margin.maintenance, int256)


@internal
def _hold_from_margin(account: address, market: uint256, fee: uint256):
    """
    @notice Escrow the fee of an isolated position's close out of its collateral: whose money is all in the position
            need not bring more to get it out.
    """
    trade: Trade = self._priced_position(account, market, margin_words.ISOLATED)
    taken: int256 = convert(fee, int256)
    trade.held.collateral = unsafe_sub(trade.held.collateral, taken)
    if trade.held.collateral < 0:
        refusals.refuse(refusals.BALANCE_SHORT)
    trade.owed = unsafe_add(trade.owed, taken)
    self._check_margin(trade, False)
    self._finish(self._store(trade), 0, trade.shortfall)


@internal
def _use_nonce(account: address, nonce: uint256):
    """
    @notice Use terms up.
    """
    word: uint256 = self.accounts[account]
    # Each nonce is above the last: old terms, kept for a worse day, are void once newer ones were used.
    if nonce <= word & margin_words.BITS_64:
        refusals.refuse(refusals.TERMS_USED)
    if nonce > margin_words.BITS_64:
        refusals.refuse(refusals.AMOUNT_OUT_OF_RANGE)
    self._store_account(account, ((word >> 64) << 64) | nonce)


@internal
@view
def _trade(account: address, market: uint256, mode: uint256) -> Trade:
    """
    @notice Begin an action on a position: nothing is read but what storage says of it.
    """
    # Beyond its field an id would name another's position.
    if market >= MAX_MARKETS or mode > margin_words.CROSS:
        refusals.refuse(refusals.NO_POSITION)
    trade: Trade = empty(Trade)
    trade.account = account
    trade.market = market
    trade.cross = mode == margin_words.CROSS
    trade.id = margin_words.position_id(account, market, mode)
    trade.flow = self.markets[market].flow
    return trade


@internal
@view
def _begin(account: address, market: uint256, mode: uint256) -> Trade:
    """
    @notice Begin an action on a position at the market's price of now.
    """
    rules: uint256 = self._rules(market)
    trade: Trade = self._trade(account, market, mode)
    trade.rules = rules
    trade.sizes = self.markets[market].sizes
    trade.reading = self._reading(market, trade.flow)
    return trade


@internal
def _open_position(account: address, market: uint256, mode: uint256) -> Trade:
    """
    @notice Begin an action on a position that is open, without asking for its price.
    """
    trade: Trade = self._touch(self._trade(account, market, mode))
    self._exists(trade)
    trade.sizes = self.markets[market].sizes
    return trade


@internal
def _priced_position(account: address, market: uint256, mode: uint256) -> Trade:
    """
    @notice The same, at its market's price of now.
    """
    trade: Trade = self._open_position(account, market, mode)
    trade.reading = self._reading(market, trade.flow)
    return trade


@internal
def _touch(begun: Trade) -> Trade:
    """
    @notice Read a position and bring it up to the cuts of its side: size, and cash out of the market's pot. An
            isolated one pays a loss out of its collateral; what that lacks is a shortfall.
    """
    trade: Trade = begun
    cash: int256 = 0
    trade.held, cash = self._position(trade.id, trade.market, trade.flow)
    stored: uint256 = self.positions[trade.id][0]
    trade.was_open = stored & margin_words.SIZE_MASK != 0
    trade.was_adjusted = trade.held.adjusted
    trade.collateral = trade.held.collateral
    trade.balance = self.balances[trade.account]
    if trade.cross:
        trade.word = self.accounts[trade.account]
    if not trade.was_open or (
        self.positions[trade.id][1] >> margin_words.CUTS_AT == self._cuts_of(trade.flow, trade.held.long)
    ):
        return trade
    self.pots[trade.market] -= cash
    trade.owed = unsafe_sub(trade.owed, cash)
    trade = self._left_over(trade, unsafe_add(trade.held.collateral, cash))
    log CutsApplied(position_id=trade.id, size=trade.held.size, cash=cash)
    return trade


@internal
@pure
def _left_over(begun: Trade, amount: int256) -> Trade:
    """
    @notice Leave a position what is left of its own: an isolated one as collateral while some of it is open, else to
            the balance; what is missing others bear. A cross one shares the balance.
    @param amount Collateral and what was realised.
    """
    trade: Trade = begun
    trade.held.collateral = 0
    if trade.cross or (amount >= 0 and trade.held.size == 0):
        trade.balance = unsafe_add(trade.balance, amount)
    elif amount >= 0:
        trade.held.collateral = amount
    else:
        trade.shortfall = unsafe_add(trade.shortfall, convert(unsafe_sub(0, amount), uint256))
    return trade


@internal
@view
def _check_window(trade: Trade, not_before_ms: uint256, not_after_ms: uint256):
    """
    @notice Refuse what cannot be executed now whatever the position is.
    """
    self._check_living(trade.flow)
    observed_ms: uint256 = (trade.reading.mark >> margin_words.OBSERVED_AT) & margin_words.BITS_48
    # A price known when the order was made would be a free look; one of much later an option.
    if observed_ms < not_before_ms or observed_ms > not_after_ms:
        refusals.refuse(refusals.PRICE_OUTSIDE_WINDOW)


@internal
@pure
def _skew(sizes: uint256) -> int256:
    """
    @return Long less short open interest.
    """
    return unsafe_sub(convert(sizes & margin_words.SIZE_MASK, int256), convert(sizes >> 120, int256))


@internal
@pure
def _costed(begun: Trade, buys: bool, size: uint256, widen_ppm: uint256) -> Trade:
    """
    @notice Add what a size costs that finds the market as it is, beside the mark: spread and impact, and the fee.
    """
    trade: Trade = begun
    price: uint256 = trade.reading.price
    skew: int256 = self._skew(trade.sizes)
    moved: int256 = convert(size, int256)
    if not buys:
        moved = unsafe_sub(0, moved)
    spread_ppm: uint256 = (trade.reading.margin >> margin_words.SPREAD_AT) & margin_words.BITS_20
    spread: uint256 = margin_math.charge(size, price, unsafe_add(spread_ppm, widen_ppm))
    impact: uint256 = margin_math.impact_cost(
        skew,
        unsafe_add(skew, moved),
        price,
        (trade.rules >> margin_words.IMPACT_AT) & margin_words.BITS_20,
        unsafe_mul(trade.reading.margin >> margin_words.SCALE_AT, USDC),
    )
    trade.cost = unsafe_add(trade.cost, unsafe_add(spread, impact))
    trade.fee = unsafe_add(trade.fee, margin_math.charge(size, price, trade.rules & margin_words.BITS_16))
    return trade


@internal
def _reduced(begun: Trade, size: uint256) -> Trade:
    """
    @notice Take a size off a position and its side's aggregates, and realise its profit, funding included.
    @dev Unchecked: the size is not above the position's, nor that above its side's; bases are sums of what is taken.
    """
    trade: Trade = begun
    self._move_side(
        trade.market,
        trade.held.long,
        unsafe_sub(0, unsafe_mul(convert(size, int256), trade.held.basis)),
    )
    trade.sizes = unsafe_sub(trade.sizes, size if trade.held.long else size << 120)
    trade.held.size = unsafe_sub(trade.held.size, size)
    trade.profit = margin_math.profit(trade.held.long, size, trade.held.basis, trade.reading.net)
    return trade


@internal
def _move_side(market: uint256, long: bool, moved: int256):
    """
    @notice Add to a side's sum of size x basis, or take from it.
    """
    if long:
        self.markets[market].long_basis += moved
    else:
        self.markets[market].short_basis += moved


@internal
def _close(begun: Trade, size: uint256) -> Trade:
    """
    @notice The leg that closes a part of a position, or all of it, at its owner's order.
    """
    trade: Trade = begun
    if trade.reading.margin & margin_words.MAY_CLOSE == 0:
        refusals.refuse(refusals.CLOSING_PAUSED)
    # At an old or unconfirmed price whoever closes could know better.
    flags: uint256 = trade.reading.mark & (margin_words.FRESH_BIT | margin_words.UNCONFIRMED_BIT)
    self._check_ready(flags == margin_words.FRESH_BIT)
    # Confidence widens no further than liquidation's least penalty: closing is never dearer than being liquidated.
    widen_ppm: uint256 = min(
        trade.reading.mark & margin_words.BITS_20,
        (trade.rules >> margin_words.PENALTY_MIN_AT) & margin_words.BITS_16,
    )
    trade = self._costed(trade, not trade.held.long, size, widen_ppm)
    collateral: int256 = trade.held.collateral
    # 64 bits x 120; what is released is not above what there is.
    released: int256 = unsafe_div(
        unsafe_mul(collateral, convert(convert(size, bytes32), int256)),
        convert(convert(trade.held.size, bytes32), int256),
    )
    trade = self._reduced(trade, size)
    payout: int256 = unsafe_sub(trade.profit, convert(unsafe_add(trade.cost, trade.fee), int256))
    if not trade.cross:
        trade.held.collateral = unsafe_add(collateral, payout)
        # Nobody else pays for it: margin is added, or the position is liquidated.
        if trade.held.collateral < 0:
            refusals.refuse(refusals.LOSS_EXCEEDS_MARGIN)
        # The part's share, as far as it is beyond the rest's initial margin: who reduces a position that has little
        # left makes it safer, never weaker. Of a whole close no rest asks for anything.
        payout = max(min(unsafe_add(payout, released), self._above_initial(trade)), 0)
        trade.held.collateral = unsafe_sub(trade.held.collateral, payout)
    trade.balance = unsafe_add(trade.balance, payout)
    # A rest of dust would not pay for its own liquidation.
    if trade.held.size != 0 and self._is_dust(trade):
        refusals.refuse(refusals.BELOW_MINIMUM_SIZE)
    trade.to_insurance = unsafe_div(trade.fee, INSURANCE_FEE_DIVISOR)
    return trade


@internal
@pure
def _is_dust(trade: Trade) -> bool:
    """
    @return Whether the position is worth less than the least that one may be.
    """
    least: uint256 = (trade.rules >> margin_words.MIN_NOTIONAL_AT) & margin_words.BITS_24
    return margin_math.notional_down(trade.held.size, trade.reading.price) < unsafe_mul(least, USDC)


@internal
def _open(begun: Trade, order: IMarginEngine.Order, size: uint256) -> Trade:
    """
    @notice The leg that opens a position or adds to one, at the mark; costs are charged in cash. The order's terms hold
            for all of it afterwards.
    """
    trade: Trade = begun
    self._check_may_open(trade.reading)
    closed_for: uint256 = unsafe_add(trade.cost, trade.fee)
    fee: uint256 = trade.fee
    trade = self._costed(trade, order.long, size, trade.reading.mark & margin_words.BITS_20)
    skew: int256 = self._skew(trade.sizes)
    basis: int256 = trade.reading.net
    before: int256 = 0
    if trade.held.size != 0:
        before = unsafe_mul(convert(trade.held.size, int256), trade.held.basis)
        basis = margin_math.average_basis(order.long, trade.held.size, trade.held.basis, size, basis)
    trade.held.size += size
    trade.held.basis = basis
    trade.held.long = order.long
    side: uint256 = trade.sizes & margin_words.SIZE_MASK
    if not order.long:
        side = trade.sizes >> 120
    # Beyond its field a side's size would spill into its neighbour's; a position's is never above it.
    if side + size > margin_words.SIZE_MASK:
        refusals.refuse(refusals.AMOUNT_OUT_OF_RANGE)
    trade.sizes = unsafe_add(trade.sizes, size if order.long else size << 120)
    after: int256 = unsafe_mul(convert(trade.held.size, int256), basis)
    self._move_side(trade.market, order.long, unsafe_sub(after, before))
    trade.held = self._under_terms(
        trade.held, order.leverage_e2, order.managed, order.maintenance_ppm, order.ceiling_ppm
    )
    self._check_terms(trade)
    self._check_size(trade, order.max_notional, unsafe_add(side, size), skew)
    # Each leg's tenth is rounded down by itself.
    trade.to_insurance = unsafe_add(
        trade.to_insurance, unsafe_div(unsafe_sub(trade.fee, fee), INSURANCE_FEE_DIVISOR)
    )
    charged: int256 = convert(unsafe_sub(unsafe_add(trade.cost, trade.fee), closed_for), int256)
    if trade.cross:
        trade.balance = unsafe_sub(trade.balance, charged)
        return trade
    trade.held.collateral = unsafe_add(
        trade.held.collateral, unsafe_sub(convert(order.margin, int256), charged)
    )
    # Costs come out of what the position brings; it could not start in debt.
    if trade.held.collateral < 0:
        refusals.refuse(refusals.MARGIN_SHORT)
    return trade


@internal
@pure
def _under_terms(
    held: Position, leverage_e2: uint256, managed: bool, maintenance_ppm: uint256, ceiling_ppm: uint256
) -> Position:
    """
    @notice Put a position under terms; an ADJUST ends.
    """
    after: Position = held
    after.leverage_e2 = leverage_e2
    after.managed = managed
    after.adjusted = False
    after.maintenance_ppm = maintenance_ppm
    after.ceiling_ppm = ceiling_ppm
    return after


@internal
@pure
def _check_may_open(reading: Reading):
    """
    @notice Refuse new risk where it is stopped, or where the price could not carry it.
    """
    if reading.margin & margin_words.MAY_OPEN == 0:
        refusals.refuse(refusals.OPENING_PAUSED)
    self._check_ready(self._is_ready(reading))


@internal
@view
def _check_terms(trade: Trade):
    """
    @notice Refuse terms that the market does not allow now for the position, and the account's size here.
    """
    margin: uint256 = trade.reading.margin
    cap_e2: uint256 = (margin >> margin_words.CAP_AT) & margin_words.BITS_16
    least_ppm: uint256 = HALF_PPM_E2 // cap_e2
    if not trade.held.managed:
        # Certainty is paid for in leverage: what never follows the market starts at the worst of the cycle.
        least_ppm = max(least_ppm, (margin >> margin_words.FLOOR_AT) & margin_words.BITS_20)
    # The market's target holds for new risk at once, whatever signers saw when they signed.
    if trade.held.maintenance_ppm < least_ppm:
        refusals.refuse(refusals.MAINTENANCE_TOO_LOW)
    # Above it, a ramp to the ceiling alone would liquidate a position whose price never moved.
    if trade.held.managed and (
        trade.held.ceiling_ppm * trade.held.leverage_e2 > FULL_E2_PPM
        or trade.held.ceiling_ppm < trade.held.maintenance_ppm
    ):
        refusals.refuse(refusals.CEILING_UNBEARABLE)
    price: uint256 = trade.reading.price
    heavier: uint256 = max(trade.sizes & margin_words.SIZE_MASK, trade.sizes >> 120)
    highest_e2: uint256 = margin_math.leverage_cap(
        cap_e2,
        unsafe_mul(margin >> margin_words.SCALE_AT, USDC),
        margin_math.notional_up(trade.held.size + self._other_size(trade), price),
        margin_math.notional_up(heavier, price),
    )
    # The cap falls as size grows: what is harder to close has to bring more.
    if trade.held.leverage_e2 > highest_e2:
        refusals.refuse(refusals.LEVERAGE_ABOVE_CAP)


@internal
@view
def _other_size(trade: Trade) -> uint256:
    """
    @return The account's size in this market in the other mode, cuts applied.
    """
    # Modes are 1 and 2, the lowest bits of the id.
    other: uint256 = trade.id ^ 3
    if self.positions[other][0] & margin_words.SIZE_MASK == 0:
        return 0
    held: Position = empty(Position)
    cash: int256 = 0
    held, cash = self._position(other, trade.market, trade.flow)
    return held.size


@internal
@view
def _check_size(trade: Trade, max_notional: uint256, side: uint256, skew: int256):
    """
    @notice Refuse a position too large for its terms or too small to be liquidated, a market too full for it, and an
            account too long to be added up.
    @param side The size of the side that grew.
    @param skew Before this leg.
    """
    price: uint256 = trade.reading.price
    # The signers judged this much.
    if margin_math.notional_up(trade.held.size, price) > max_notional:
        refusals.refuse(refusals.NOTIONAL_ABOVE_TERMS)
    # Dust would use up windows and rewards.
    if self._is_dust(trade):
        refusals.refuse(refusals.BELOW_MINIMUM_SIZE)
    # 96 bits in the pool's slot.
    assets: uint256 = staticcall pool.assets_for_limits()
    share_ppm: uint256 = (trade.rules >> margin_words.INTEREST_SHARE_AT) & margin_words.BITS_20
    most: uint256 = unsafe_mul((trade.reading.margin >> margin_words.INTEREST_CAP_AT) & margin_words.BITS_48, USDC)
    # A side may not win more than the signers think can be closed, nor more than the pool can stand for.
    if margin_math.notional_up(side, price) > min(most, unsafe_div(unsafe_mul(assets, share_ppm), PPM)):
        refusals.refuse(refusals.OPEN_INTEREST_FULL)
    far: uint256 = convert(abs(self._skew(trade.sizes)), uint256)
    share_ppm = (trade.rules >> margin_words.SKEW_SHARE_AT) & margin_words.BITS_20
    # The skew is what the pool itself holds. What brings it toward zero is always welcome.
    if far > convert(abs(skew), uint256) and margin_math.notional_up(far, price) > unsafe_div(unsafe_mul(assets, share_ppm), PPM):
        refusals.refuse(refusals.SKEW_FULL)
    # Whoever adds the account up does it in one transaction.
    if trade.cross and not trade.was_open and (
        (trade.word >> margin_words.COUNT_AT) & margin_words.BITS_4 == margin_words.MAX_CROSS
    ):
        refusals.refuse(refusals.TOO_MANY_POSITIONS)


@internal
@view
def _check_margin(trade: Trade, opened: bool):
    """
    @notice Refuse an opening that lacks initial margin, and a reduction that leaves too little. The book is stored.
    """
    if trade.cross:
        self._check_account(trade, opened)
        return
    if trade.held.size == 0:
        return
    if opened:
        if self._above_initial(trade) < 0:
            refusals.refuse(refusals.MARGIN_SHORT)
        return
    ratio_ppm: uint256 = self._ratio(trade.held, trade.id, trade.reading.margin)
    least: uint256 = margin_math.charge(trade.held.size, trade.reading.price, ratio_ppm)
    # What would be liquidated in the next block was no reduction worth making; close it all, or add margin.
    if self._isolated_equity(trade) < convert(least, int256):
        refusals.refuse(refusals.WOULD_BE_LIQUIDATABLE)


@internal
@view
def _check_account(trade: Trade, opened: bool):
    """
    @notice The same for a cross account as a whole.
    """
    word: uint256 = self.accounts[trade.account]
    sums: Sums = self._sums(trade.account, word, trade.balance, trade.market, trade.reading, False)
    if not opened:
        # Where nothing is open nothing is asked for, but the balance may not be owed.
        if sums.margin.equity < convert(sums.margin.maintenance, int256):
            refusals.refuse(refusals.WOULD_BE_LIQUIDATABLE)
        return
    # New risk is carried by prices that could carry it, all of them.
    self._check_ready(sums.margin.ready)
    if sums.margin.opening_equity < convert(sums.margin.initial, int256):
        refusals.refuse(refusals.MARGIN_SHORT)


@internal
@pure
def _isolated_equity(trade: Trade) -> int256:
    """
    @return What an isolated position owns at its market's price.
    """
    return unsafe_add(
        trade.held.collateral,
        margin_math.profit(trade.held.long, trade.held.size, trade.held.basis, trade.reading.net),
    )


@internal
@pure
def _above_initial(trade: Trade) -> int256:
    """
    @return What an isolated position owns beyond its initial margin.
    """
    initial: uint256 = margin_math.initial_margin(
        trade.held.size, trade.reading.price, trade.held.leverage_e2
    )
    return unsafe_sub(self._isolated_equity(trade), convert(initial, int256))


@internal
def _reindexed(begun: Trade) -> Trade:
    """
    @notice Store a market's sizes, its funding index of now, and the rate that its skew asks for from here.
    """
    trade: Trade = begun
    rate: int256 = margin_math.funding_rate(
        self._skew(trade.sizes),
        trade.reading.price,
        (trade.rules >> margin_words.FUNDING_AT) & margin_words.BITS_20,
        unsafe_mul(trade.reading.margin >> margin_words.SCALE_AT, USDC),
    )
    index: int256 = unsafe_sub(convert(trade.reading.price, int256), trade.reading.net)
    trade.flow = (
        ((trade.flow >> margin_words.LONG_CUTS_AT) << margin_words.LONG_CUTS_AT)
        | margin_words.signed_112(index)
        | ((convert(convert(rate, bytes32), uint256) & margin_words.BITS_72) << margin_words.RATE_AT)
        | (block.timestamp << margin_words.AT_S_AT)
    )
    self.markets[trade.market].flow = trade.flow
    self.markets[trade.market].sizes = trade.sizes
    log MarketChanged(market=trade.market, sizes=trade.sizes, flow=trade.flow)
    return trade


@internal
@pure
def _stamped(begun: Trade) -> Trade:
    """
    @notice Count a change of a position, and note at which price it was made.
    """
    trade: Trade = begun
    trade.held.version = unsafe_add(trade.held.version, 1)
    trade.held.stamp_ms = (trade.reading.mark >> margin_words.OBSERVED_AT) & margin_words.BITS_48
    return trade


@internal
@pure
def _forgiven(begun: Trade) -> Trade:
    """
    @notice End the debt of an account whose last cross position is gone: insurance and pool bear it.
    """
    trade: Trade = begun
    if not trade.cross or trade.held.size != 0 or trade.balance >= 0:
        return trade
    # This position still counts in the word, as long as it was open.
    count: uint256 = (trade.word >> margin_words.COUNT_AT) & margin_words.BITS_4
    if count == 1:
        trade.shortfall = unsafe_add(trade.shortfall, convert(unsafe_sub(0, trade.balance), uint256))
        trade.balance = 0
    return trade


@internal
def _store(trade: Trade) -> int256:
    """
    @notice Write a position, its place in the account's list, and the balance.
    @return Growth of what the vault owes traders by all of the action.
    """
    first: uint256 = 0
    second: uint256 = trade.held.version << margin_words.VERSION_AT
    # A version never starts again: an action that was signed for an earlier position stays void.
    if trade.held.version > margin_words.BITS_32 or trade.held.collateral >> 64 != 0:
        refusals.refuse(refusals.AMOUNT_OUT_OF_RANGE)
    if trade.held.size != 0:
        first = (
            trade.held.size
            | (margin_words.signed_112(trade.held.basis) << margin_words.BASIS_AT)
            | (trade.held.leverage_e2 << margin_words.LEVERAGE_AT)
            | (convert(trade.held.long, uint256) << margin_words.LONG_AT)
            | (convert(trade.held.managed, uint256) << margin_words.MANAGED_AT)
            | (convert(trade.held.adjusted, uint256) << margin_words.ADJUSTED_AT)
        )
        second |= (
            convert(trade.held.collateral, uint256)
            | (trade.held.maintenance_ppm << margin_words.MAINTENANCE_AT)
            | (trade.held.ceiling_ppm << margin_words.CEILING_AT)
            | (trade.held.stamp_ms << margin_words.STAMP_AT)
            | (self._cuts_of(trade.flow, trade.held.long) << margin_words.CUTS_AT)
        )
    self.positions[trade.id][0] = first
    self.positions[trade.id][1] = second
    if trade.was_adjusted and (first == 0 or not trade.held.adjusted):
        self.positions[trade.id][2] = 0
    log PositionChanged(position_id=trade.id, word0=first, word1=second)
    if trade.cross:
        word: uint256 = trade.word
        if trade.was_open != (first != 0):
            word = self._listed(word, trade.market, first != 0)
        if word != self.accounts[trade.account]:
            self._store_account(trade.account, word)
    owed: int256 = unsafe_add(
        trade.owed, unsafe_sub(trade.held.collateral, trade.collateral)
    )
    before: int256 = self.balances[trade.account]
    if trade.balance != before:
        owed = unsafe_add(owed, self._store_balance(trade.account, before, trade.balance))
    return owed


@internal
@pure
def _listed(word: uint256, market: uint256, is_open: bool) -> uint256:
    """
    @notice Keep an account's list of open cross markets: a new one comes last, the last one moves into a hole.
    @return The account's word.
    """
    count: uint256 = (word >> margin_words.COUNT_AT) & margin_words.BITS_4
    if is_open:
        return unsafe_add(
            word | (market << unsafe_add(unsafe_mul(count, 16), margin_words.MARKETS_AT)),
            1 << margin_words.COUNT_AT,
        )
    last_at: uint256 = unsafe_add(unsafe_mul(count, 16), margin_words.MARKETS_AT - 16)
    last: uint256 = (word >> last_at) & margin_words.BITS_16
    at: uint256 = margin_words.MARKETS_AT
    # The market is in the list: it was open.
    for i: uint256 in range(9):
        if (word >> at) & margin_words.BITS_16 == market:
            break
        at = unsafe_add(at, 16)
    # Where it is the last one itself, the two moves undo each other but for its removal.
    return unsafe_sub(
        (word ^ ((market ^ last) << at)) & ~(margin_words.BITS_16 << last_at), 1 << margin_words.COUNT_AT
    )


@internal
def _store_account(account: address, word: uint256):
    """
    @notice Write an account's word.
    """
    self.accounts[account] = word
    log AccountChanged(account=account, word=word)


@internal
def _store_balance(account: address, before: int256, balance: int256) -> int256:
    """
    @notice Write a balance, and what traders owe by it.
    @return Growth of what the vault owes traders by it: only what is above 0.
    """
    self.balances[account] = balance
    log BalanceChanged(account=account, balance=balance)
    if before < 0 or balance < 0:
        # Each balance below 0 is in the sum already, so it never falls below 0.
        self.debts = convert(
            convert(self.debts, int256) + unsafe_sub(min(before, 0), min(balance, 0)), uint256
        )
    return unsafe_sub(max(balance, 0), max(before, 0))


@internal
def _credit(account: address, amount: uint256) -> int256:
    """
    @notice Add to a balance inside the vault; nothing is ever sent to who executes or liquidates.
    @return Growth of what the vault owes traders by it.
    """
    if amount == 0:
        return 0
    before: int256 = self.balances[account]
    return self._store_balance(account, before, before + convert(amount, int256))


@internal
def _finish(owed: int256, to_insurance: uint256, shortfall: uint256):
    """
    @notice End an action: the pool takes what traders are owed less, or gives what they are owed more. The lock opens.
    @param owed Growth of what the vault owes traders, less what came in from a wallet.
    """
    to_pool: int256 = unsafe_sub(unsafe_sub(0, owed), convert(to_insurance, int256))
    if to_pool != 0 or to_insurance != 0 or shortfall != 0:
        extcall pool.settle(to_pool, to_insurance, shortfall)
    self._leave()


@internal
def _cut_aggregates(trade: Trade, long: bool, kept_before: uint256, kept_now: uint256) -> uint256:
    """
    @notice Cut a side's aggregates: its size rounded up, so that it is never less than its positions; its sum so that
            its profit is never less than theirs.
    @return What goes to its pot, USDC e6: the difference of its profit, rounded up, and one unit more, because the
            size that was rounded up keeps up to one price of it.
    """
    before: int256 = convert(kept_before, int256)
    size: uint256 = trade.sizes & margin_words.SIZE_MASK
    sum: int256 = self.markets[trade.market].long_basis
    if not long:
        size = trade.sizes >> 120
        # A short's sum with its sign turned is rounded as a long's.
        sum = unsafe_sub(0, self.markets[trade.market].short_basis)
    # 120 bits x 90. The product of the sum is checked: it holds up to 4 x 10^13 USDC of open interest.
    left: uint256 = margin_math.ceil_div(unsafe_mul(size, kept_now), kept_before)
    taken: int256 = unsafe_sub(sum, margin_math.floor_div(sum * convert(kept_now, int256), before))
    gone: uint256 = unsafe_sub(size, left)
    won: int256 = unsafe_mul(convert(gone, int256), trade.reading.net)
    if long:
        self._move_side(trade.market, True, unsafe_sub(0, taken))
        self.markets[trade.market].sizes = unsafe_sub(trade.sizes, gone)
    else:
        self._move_side(trade.market, False, taken)
        self.markets[trade.market].sizes = unsafe_sub(trade.sizes, gone << 120)
        won = unsafe_sub(0, won)
    # Of shorts both terms have turned their sign.
    won = unsafe_sub(won, taken)
    return convert(unsafe_sub(1, margin_math.floor_div(unsafe_sub(0, won), I30)), uint256)


@internal
@pure
def _sound(rules: uint256, floor_ppm: uint256) -> bool:
    """
    @return Whether a market's rules can be lived with.
    @param floor_ppm The lowest maintenance ratio of its class.
    """
    fee_ppm: uint256 = rules & margin_words.BITS_16
    penalty_min_ppm: uint256 = (rules >> margin_words.PENALTY_MIN_AT) & margin_words.BITS_16
    penalty_max_ppm: uint256 = (rules >> margin_words.PENALTY_MAX_AT) & margin_words.BITS_20
    interest_share_ppm: uint256 = (rules >> margin_words.INTEREST_SHARE_AT) & margin_words.BITS_20
    skew_share_ppm: uint256 = (rules >> margin_words.SKEW_SHARE_AT) & margin_words.BITS_20
    cut_share_ppm: uint256 = (rules >> margin_words.CUT_SHARE_AT) & margin_words.BITS_20
    min_notional: uint256 = (rules >> margin_words.MIN_NOTIONAL_AT) & margin_words.BITS_24
    return (
        # A liquidation that takes more than maintenance would leave nothing to restore.
        penalty_min_ppm <= penalty_max_ppm
        and penalty_max_ppm + fee_ppm < floor_ppm
        # The least penalty of the least position pays the caller; so there is no reward to farm.
        and penalty_min_ppm * min_notional >= (rules >> margin_words.REWARD_AT) & margin_words.BITS_24
        and min_notional != 0
        # Nobody executes for nothing: an order that waits for its own owner to execute it is an option.
        and (rules >> margin_words.EXECUTION_FEE_AT) & margin_words.BITS_24 >= LEAST_EXECUTION_FEE
        and (rules >> margin_words.IMPACT_AT) & margin_words.BITS_20 <= PPM
        and (rules >> margin_words.FUNDING_AT) & margin_words.BITS_20 <= PPM
        and interest_share_ppm != 0
        and interest_share_ppm <= PPM
        and skew_share_ppm != 0
        and skew_share_ppm <= PPM
        and cut_share_ppm != 0
        and cut_share_ppm <= PPM
        # An age of 0 would let nobody be liquidated. A narrower band is not looked for, see there.
        and (rules >> margin_words.LIQUIDATION_AGE_AT) & margin_words.BITS_16 != 0
        and rules >> margin_words.BAND_AT >= margin_words.LEAST_BAND_PPM
    )
