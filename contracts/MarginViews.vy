# pragma version 0.4.3
# pragma evm-version prague
# pragma optimize gas
"""
@title MarginViews: what open positions are worth to the pool, and the books decoded
@license Apache-2.0
@notice Only reads. The pool pays who leaves and charges who enters by `exposure`; everything else is for people and
        programs that watch: a position, an account, the totals that must agree, what a trade would cost.
@custom:kill Nothing can be done here. While EXPOSURE_UNKNOWN refuses (a market with positions has no fresh price),
             nobody enters or leaves the pool.
@dev Loops over the engine's markets, at most 256. Profit is exact for a side, from its aggregates; what positions get
     is rounded down each, so their sum is never more.
"""

from ethereum.ercs import IERC20

from contracts import margin_math
from contracts import margin_words
from contracts import refusals
from contracts.interfaces import ICollateralVault
from contracts.interfaces import IExposure
from contracts.interfaces import ILiquidityPool
from contracts.interfaces import IMarginEngine
from contracts.interfaces import IMarginViews
from contracts.interfaces import IPriceFeed
from contracts.interfaces import IRiskOracle

implements: IExposure
implements: IMarginViews

struct Book:
    long_size: uint256
    short_size: uint256
    long_basis: int256  # sum of size x basis
    short_basis: int256
    index: int256  # of funding, now
    price: uint256
    confidence_ppm: uint256
    known: bool  # fresh, confirmed, observed since
    pot: int256


MAX_MARKETS: constant(uint256) = 256
PPM: constant(uint256) = 1_000_000
E30: constant(int256) = 10**30  # size x price in one USDC e6
RESERVE_PPM: constant(uint256) = 10_000  # 1 % of open interest stays beside what traders have won
# Cuts leave a side less than a unit for each position and cut, for ever. A unit is 1e-18, so this is worth less than
# 0.05 USDC at the highest price that there is: nobody's position, and no reason for the pool to wait for a price.
DUST: constant(uint256) = 10**6

engine: public(immutable(IMarginEngine))
feed: public(immutable(IPriceFeed))
oracle: public(immutable(IRiskOracle))
pool: public(immutable(ILiquidityPool))
vault: public(immutable(ICollateralVault))
token: public(immutable(IERC20))


@deploy
def __init__(
    engine_: address, feed_: address, oracle_: address, pool_: address, vault_: address, token_: address
):
    """
    @param engine_ The book. None of these need exist yet; check them after deployment.
    @param feed_ Prices.
    @param oracle_ Parameters and pauses.
    @param pool_ The counterparty.
    @param vault_ Holds the traders' USDC.
    @param token_ USDC.
    """
    # A view of nothing would answer with zeros, and the pool pay by them.
    if (
        engine_ == empty(address)
        or feed_ == empty(address)
        or oracle_ == empty(address)
        or pool_ == empty(address)
        or vault_ == empty(address)
        or token_ == empty(address)
    ):
        refusals.refuse(refusals.ADDRESS_MISSING)
    engine = IMarginEngine(engine_)
    feed = IPriceFeed(feed_)
    oracle = IRiskOracle(oracle_)
    pool = ILiquidityPool(pool_)
    vault = ICollateralVault(vault_)
    token = IERC20(token_)


@external
@view
def exposure(since_ms: uint256) -> (uint256, int256, int256, uint256):
    """
    @notice What open positions are worth to the pool, at prices observed since a moment; refuses while one is
            missing: at an old price whoever enters or leaves could know better.
    @param since_ms Unix ms.
    @return What traders owe; their net unrealised profit with each market's price widened by its confidence in their
            favour; the same against them; what must stay in the pool for open profit. USDC e6.
    """
    high: int256 = 0
    low: int256 = 0
    reserve: uint256 = 0
    for market: uint256 in range(staticcall engine.market_count(), bound=MAX_MARKETS):
        book: Book = self._book(market, since_ms)
        if max(book.long_size, book.short_size) < DUST:
            continue
        if not book.known:
            refusals.refuse(refusals.EXPOSURE_UNKNOWN)
        up: uint256 = margin_math.ceil_div(book.price * (PPM + book.confidence_ppm), PPM)
        down: uint256 = book.price * (PPM - book.confidence_ppm) // PPM
        long_up: int256 = self._long_profit(book, up)
        short_down: int256 = self._short_profit(book, down)
        at_up: int256 = long_up + self._short_profit(book, up)
        at_down: int256 = self._long_profit(book, down) + short_down
        # Net profit is linear in the price: the heavier side says which end is which, but for a unit of rounding.
        high += max(at_up, at_down)
        low += min(at_up, at_down)
        open_interest: uint256 = margin_math.charge(
            book.long_size + book.short_size, book.price, RESERVE_PPM
        )
        reserve += convert(max(long_up, 0), uint256) + convert(max(short_down, 0), uint256) + open_interest
    return staticcall engine.debts(), high, low, reserve


@external
@view
def exposure_at_last_prices() -> (uint256, int256):
    """
    @notice What open positions are worth at the last accepted marks, however old. Never refuses; no money moves by it.
    @return What traders owe, and their net unrealised profit, USDC e6.
    """
    profit: int256 = 0
    for market: uint256 in range(staticcall engine.market_count(), bound=MAX_MARKETS):
        book: Book = self._book(market, 0)
        if book.long_size | book.short_size != 0:
            profit += self._long_profit(book, book.price) + self._short_profit(book, book.price)
    return staticcall engine.debts(), profit


@external
@view
def withdrawals_open() -> bool:
    """
    @return Whether neither withdrawals nor everything is paused.
    """
    return staticcall oracle.withdrawals_open()


@external
@view
def position_view(account: address, market: uint256, mode: uint256) -> IMarginViews.PositionView:
    """
    @notice One position as it counts now, deleveraging applied; side 0 where there is none.
    @param account Whose.
    @param market Its id.
    @param mode 1 isolated, 2 cross.
    """
    # Beyond its field an id would name another's position.
    if market > margin_words.BITS_16 or mode == 0 or mode > 2:
        refusals.refuse(refusals.UNKNOWN_CHOICE)
    id: uint256 = margin_words.position_id(account, market, mode)
    found: IMarginViews.PositionView = empty(IMarginViews.PositionView)
    word: uint256 = 0
    held: uint256 = 0
    more: uint256 = 0
    word, held, more = staticcall engine.position(id)
    if word & margin_words.SIZE_MASK == 0:
        return found
    health: IMarginEngine.Health = staticcall engine.health(id)
    book: Book = self._book(market, 0)
    found.side = 1 if health.long else -1
    found.size = health.size
    found.entry_price = margin_words.basis(word) + book.index
    found.price = health.price
    found.leverage_e2 = (word >> margin_words.LEVERAGE_AT) & margin_words.BITS_16
    found.managed = health.managed
    found.collateral = held & margin_words.BITS_64
    found.profit = margin_math.profit(
        health.long, health.size, found.entry_price, convert(health.price, int256)
    )
    found.equity = health.equity
    found.maintenance = health.maintenance
    found.own_maintenance = health.own_maintenance
    found.ratio_ppm = health.ratio_ppm
    found.ceiling_ppm = health.ceiling_ppm
    found.version = health.version
    found.stamp_ms = health.stamp_ms
    found.liquidatable = self._below(health.equity, health.maintenance)
    found.settled = health.settled
    return found


@external
@view
def account_view(account: address) -> IMarginViews.AccountView:
    """
    @notice A cross account as it counts now. Isolated positions stand apart.
    @param account Whose.
    """
    word: uint256 = 0
    balance: int256 = 0
    word, balance = staticcall engine.account(account)
    margin: IMarginEngine.AccountMargin = staticcall engine.account_margin(account)
    promised: uint256 = (word >> margin_words.PROMISED_AT) & margin_words.BITS_28
    found: IMarginViews.AccountView = IMarginViews.AccountView(
        balance=balance,
        nonce=word & margin_words.BITS_64,
        promised=promised,
        equity=margin.equity,
        opening_equity=margin.opening_equity,
        initial=margin.initial,
        maintenance=margin.maintenance,
        notional=margin.notional,
        ready=margin.ready,
        liquidatable=self._below(margin.equity, margin.maintenance),
        withdrawable=0,
        markets=[],
    )
    for place: uint256 in range(
        (word >> margin_words.COUNT_AT) & margin_words.BITS_4, bound=margin_words.MAX_CROSS
    ):
        found.markets.append((word >> (margin_words.MARKETS_AT + 16 * place)) & margin_words.BITS_16)
    locked: uint256 = margin_math.locked_margin(margin.initial, margin.notional)
    free: int256 = margin.equity - convert(margin.widening + locked, int256)
    if margin.ready:
        found.withdrawable = convert(max(min(balance, free) - convert(promised, int256), 0), uint256)
    return found


@external
@view
def totals() -> IMarginViews.Totals:
    """
    @notice What vault and pool say they owe, and what they hold. Credited is at most the vault's tokens; pool,
            insurance and pending together at most the pool's.
    """
    assets: uint256 = 0
    insurance: uint256 = 0
    pending: uint256 = 0
    supply: uint256 = 0
    insurance_supply: uint256 = 0
    assets, insurance, pending, supply, insurance_supply = staticcall pool.totals()
    pots: int256 = 0
    for market: uint256 in range(staticcall engine.market_count(), bound=MAX_MARKETS):
        pots += self._book(market, 0).pot
    return IMarginViews.Totals(
        credited=staticcall vault.credited(),
        pool=assets,
        insurance=insurance,
        pending=pending,
        debts=staticcall engine.debts(),
        pots=pots,
        vault_tokens=staticcall token.balanceOf(vault.address),
        pool_tokens=staticcall token.balanceOf(pool.address),
    )


@external
@view
def quote(market: uint256, buys: bool, opens: bool, size: uint256) -> IMarginViews.Quote:
    """
    @notice What a trade would pay at the mark of now. The one that executes will have another price.
    @param market Its id.
    @param buys Whether it opens a long or closes a short.
    @param opens Whether it opens: then the price's whole confidence widens the spread.
    @param size In 1e-18.
    """
    sizes: uint256 = 0
    long_basis: int256 = 0
    short_basis: int256 = 0
    flow: uint256 = 0
    rules: uint256 = 0
    settlement: uint256 = 0
    pot: int256 = 0
    sizes, long_basis, short_basis, flow, rules, settlement, pot = staticcall engine.market(market)
    if rules == 0:
        refusals.refuse(refusals.UNKNOWN_MARKET)
    if size == 0 or size > margin_words.SIZE_MASK:
        refusals.refuse(refusals.AMOUNT_OUT_OF_RANGE)
    price: uint256 = 0
    average: uint256 = 0
    mark: uint256 = 0
    price, average, mark = staticcall feed.mark(market)
    if price == 0:
        refusals.refuse(refusals.EXPOSURE_UNKNOWN)
    parameters: uint256 = staticcall oracle.margin(market)
    widening: uint256 = mark & margin_words.BITS_20
    if not opens:
        widening = min(widening, (rules >> margin_words.PENALTY_MIN_AT) & margin_words.BITS_16)
    skew: int256 = convert(sizes & margin_words.SIZE_MASK, int256) - convert(sizes >> 120, int256)
    after: int256 = skew + convert(size, int256) if buys else skew - convert(size, int256)
    found: IMarginViews.Quote = IMarginViews.Quote(
        price_paid=0,
        spread=margin_math.charge(size, price, ((parameters >> margin_words.SPREAD_AT) & margin_words.BITS_20) + widening),
        impact=margin_math.impact_cost(
            skew,
            after,
            price,
            (rules >> margin_words.IMPACT_AT) & margin_words.BITS_20,
            ((parameters >> margin_words.SCALE_AT) & margin_words.BITS_48) * PPM,
        ),
        fee=margin_math.charge(size, price, rules & margin_words.BITS_16),
    )
    # 0 where the cost leaves a seller nothing: such a trade has no price.
    found.price_paid = margin_math.price_paid(buys, size, price, found.spread + found.impact)
    return found


@internal
@view
def _book(market: uint256, since_ms: uint256) -> Book:
    """
    @notice A market's aggregates and the price that they count at; no price where nothing is open.
    @param since_ms Before when a price's observation is too old to be known by.
    """
    sizes: uint256 = 0
    book: Book = empty(Book)
    flow: uint256 = 0
    rules: uint256 = 0
    settlement: uint256 = 0
    sizes, book.long_basis, book.short_basis, flow, rules, settlement, book.pot = staticcall engine.market(
        market
    )
    book.long_size = sizes & margin_words.SIZE_MASK
    book.short_size = sizes >> 120
    if sizes == 0:
        return book
    book.index = margin_words.index_now(flow)
    if flow >> margin_words.SETTLED_AT != 0:
        # Fixed for ever: there is nothing to know better.
        book.price = settlement
        book.known = True
        return book
    average: uint256 = 0
    mark: uint256 = 0
    book.price, average, mark = staticcall feed.mark(market)
    book.confidence_ppm = mark & margin_words.BITS_20
    book.known = (
        mark & margin_words.FRESH_BIT != 0
        and mark & margin_words.UNCONFIRMED_BIT == 0
        and (mark >> margin_words.OBSERVED_AT) & margin_words.BITS_48 >= since_ms
    )
    return book


@internal
@pure
def _long_profit(book: Book, price: uint256) -> int256:
    """
    @return All longs' unrealised profit at a price, funding in it, rounded down.
    """
    net: int256 = convert(price, int256) - book.index
    return margin_math.floor_div(convert(book.long_size, int256) * net - book.long_basis, E30)


@internal
@pure
def _short_profit(book: Book, price: uint256) -> int256:
    """
    @return All shorts' unrealised profit at a price, funding in it, rounded down.
    """
    net: int256 = convert(price, int256) - book.index
    return margin_math.floor_div(book.short_basis - convert(book.short_size, int256) * net, E30)


@internal
@pure
def _below(equity: int256, maintenance: uint256) -> bool:
    """
    @return Whether equity is below maintenance, strictly; who is asked nothing has nothing to liquidate.
    """
    return maintenance > 0 and equity < convert(maintenance, int256)
