# pragma version 0.4.3
# pragma evm-version prague
# pragma optimize gas
"""
@title OrderDesk: orders that wait for a price nobody knew when they were made
@license Apache-2.0
@notice A trader asks to open with terms that the quorum signed, or to close without any. Anybody executes the
        request, for the fee that the trader put up, at a price observed more than 2 s after it and before 17 s
        after it; the engine judges it again then, by the limits of that moment. Once the window has passed it
        can only be cancelled: margin goes back, the fee is lost, so that an order is no free option.
@custom:kill The guardian pauses AI_INPUT, NEW_RISK or EVERYTHING in RiskOracle: no terms are taken and nothing opens.
             Nothing is held here; what waits can be cancelled by anybody after 17 s.
@dev A request is one slot, the hash of its fields. The fields stand in the event, whole: whoever executes or
     cancels gives them back. The engine trusts this contract to have verified what an order says.
"""

from contracts import margin_math
from contracts import margin_words
from contracts import refusals
from contracts.interfaces import IMarginEngine
from contracts.interfaces import IOrderDesk
from contracts.interfaces import IRiskOracle

implements: IOrderDesk

event Requested:
    id: indexed(bytes32)
    account: indexed(address)
    market: indexed(uint256)
    terms_hash: bytes32  # what the quorum signed; 0 for a close
    request: IOrderDesk.Request

event Executed:
    id: indexed(bytes32)
    account: indexed(address)
    executor: indexed(address)

event Cancelled:
    id: indexed(bytes32)
    account: indexed(address)

event TermsChanged:
    account: indexed(address)
    market: indexed(uint256)
    mode: uint256
    terms_hash: bytes32


FIXED: constant(uint8) = 1
MANAGED: constant(uint8) = 2

PPM: constant(uint256) = 1_000_000
ONE_X: constant(uint256) = 100
ONE_E2_PPM: constant(uint256) = ONE_X * PPM  # 1x times 100 %

# A price may be stamped up to 2 s after the block that takes it (quorum.FUTURE_TOLERANCE_MS). One stamped later than
# that after the request was in no block of the request's second: it was unknown to all, and "never less than a block".
FROM_MS: constant(uint256) = 2_001
# Long enough for a round that a waiting request asks for, too short to wait for a better one: the feed keeps only
# its latest price, so later the order would be an option on all of them.
WINDOW_MS: constant(uint256) = 17_000

engine: public(immutable(IMarginEngine))
oracle: public(immutable(IRiskOracle))

# 1 while the request of this hash waits.
pending: public(HashMap[bytes32, uint256])


@deploy
def __init__(engine_: address, oracle_: address):
    """
    @param engine_ The book that holds and executes. May not exist yet; check it after deployment.
    @param oracle_ Who verifies terms.
    """
    # Without one of them no order could be made, or any terms pass.
    if engine_ == empty(address) or oracle_ == empty(address):
        refusals.refuse(refusals.ADDRESS_MISSING)
    engine = IMarginEngine(engine_)
    oracle = IRiskOracle(oracle_)


@external
def request_open(
    terms: IRiskOracle.PositionTerms,
    signatures: DynArray[bytes32, 32],
    size: uint256,
    margin: uint256,
    leverage_e2: uint256,
    acceptable_price: uint256,
) -> bytes32:
    """
    @notice Ask to buy into one side under signed terms: to open, to increase, or, against a position, to reduce
            and flip it. Uses the terms up; escrows margin and fee.
    @param terms As the quorum signed them, for the caller.
    @param signatures Exactly k pairs (r, vs), signers ascending.
    @param size In 1e-18.
    @param margin USDC e6 from the balance into the position; isolated only.
    @param leverage_e2 At most what the terms allow; holds for the whole position afterwards.
    @param acceptable_price The worst price paid, spread and impact in it, in 1e-18.
    @return The request's hash, by which it waits.
    """
    digest: bytes32 = self._taken(terms, signatures, leverage_e2)
    mode: uint256 = convert(terms.margin_mode, uint256)
    # In a cross account everything carries everything; margin for one position would only look like a limit.
    if mode == margin_words.CROSS and margin != 0:
        refusals.refuse(refusals.MARGIN_NEEDS_ISOLATED)
    # Beyond its field an amount would spill into its neighbours; an order for nothing would cost a fee for nothing.
    if size == 0 or size > margin_words.SIZE_MASK or margin > margin_words.BITS_64:
        refusals.refuse(refusals.AMOUNT_OUT_OF_RANGE)
    return self._wait(
        IOrderDesk.Request(
            account=msg.sender,
            market=convert(terms.market, uint256),
            mode=mode,
            long=terms.side == 1,
            reduce_only=False,
            managed=terms.adjustment == MANAGED,
            size=size,
            margin=margin,
            leverage_e2=leverage_e2,
            maintenance_ppm=convert(terms.maintenance_ppm, uint256),
            ceiling_ppm=convert(terms.maintenance_ceiling_ppm, uint256),
            max_notional=convert(terms.max_notional, uint256),
            fee=self._fee(convert(terms.market, uint256)),
            acceptable_price=acceptable_price,
            requested_at_ms=block.timestamp * 1_000,
        ),
        convert(terms.nonce, uint256),
        digest,
    )


@external
def request_close(market: uint256, mode: uint256, size: uint256, acceptable_price: uint256) -> bytes32:
    """
    @notice Ask to reduce or close the caller's position. Needs no terms, so that nobody's silence locks it in.
    @param market Its id.
    @param mode 1 isolated, 2 cross.
    @param size In 1e-18; what is more than the position closes all of it.
    @param acceptable_price The worst price paid, spread and impact in it, in 1e-18.
    @return The request's hash, by which it waits.
    """
    # Also keeps a market's id inside its field of the position's id: what lies beyond is another's position.
    if mode != margin_words.ISOLATED and mode != margin_words.CROSS:
        refusals.refuse(refusals.UNKNOWN_CHOICE)
    fee: uint256 = self._fee(market)
    if size == 0:
        refusals.refuse(refusals.AMOUNT_OUT_OF_RANGE)
    word: uint256 = 0
    rest: uint256 = 0
    more: uint256 = 0
    word, rest, more = staticcall engine.position(margin_words.position_id(msg.sender, market, mode))
    # Without a position there is no direction, and the fee would be lost for nothing.
    if word & margin_words.SIZE_MASK == 0:
        refusals.refuse(refusals.NOTHING_TO_REDUCE)
    return self._wait(
        IOrderDesk.Request(
            account=msg.sender,
            market=market,
            mode=mode,
            long=word & margin_words.LONG_BIT == 0,
            reduce_only=True,
            managed=False,
            size=min(size, margin_words.SIZE_MASK),
            margin=0,
            leverage_e2=0,
            maintenance_ppm=0,
            ceiling_ppm=0,
            max_notional=0,
            fee=fee,
            acceptable_price=acceptable_price,
            requested_at_ms=block.timestamp * 1_000,
        ),
        0,
        empty(bytes32),
    )


@external
def execute(request: IOrderDesk.Request):
    """
    @notice Execute a waiting request at the price that the feed has now. Anybody may; the fee is the caller's. A
            refusal leaves the request waiting.
    @param request As its event says.
    """
    id: bytes32 = self._end(request)
    # The engine holds the price to the window; this holds the block to it: a price of then is no price of now.
    if block.timestamp * 1_000 > request.requested_at_ms + WINDOW_MS:
        refusals.refuse(refusals.OUTSIDE_WINDOW)
    log Executed(id=id, account=request.account, executor=msg.sender)
    extcall engine.execute(
        IMarginEngine.Order(
            account=request.account,
            market=request.market,
            mode=request.mode,
            long=request.long,
            reduce_only=request.reduce_only,
            managed=request.managed,
            size=request.size,
            margin=request.margin,
            leverage_e2=request.leverage_e2,
            maintenance_ppm=request.maintenance_ppm,
            ceiling_ppm=request.ceiling_ppm,
            max_notional=request.max_notional,
            fee=request.fee,
            acceptable_price=request.acceptable_price,
            not_before_ms=request.requested_at_ms + FROM_MS,
            not_after_ms=request.requested_at_ms + WINDOW_MS,
            executor=msg.sender,
        )
    )


@external
def cancel(request: IOrderDesk.Request):
    """
    @notice End a request whose window has passed: the margin goes back to the balance, the fee to the insurance.
            Anybody may, and no pause stops it.
    @param request As its event says.
    """
    id: bytes32 = self._end(request)
    # Cancelled at will, an order would be placed for every price and kept only for the good one.
    if block.timestamp * 1_000 <= request.requested_at_ms + WINDOW_MS:
        refusals.refuse(refusals.OUTSIDE_WINDOW)
    log Cancelled(id=id, account=request.account)
    extcall engine.unhold(request.account, request.mode, request.fee, request.margin)


@external
def change_terms(
    terms: IRiskOracle.PositionTerms, signatures: DynArray[bytes32, 32], leverage_e2: uint256
):
    """
    @notice Put the caller's open position under new terms: leverage, adjustment and ratios. At once, for nothing is
            traded and no price can be run ahead of. Uses the terms up.
    @param terms As the quorum signed them, for the caller and this side.
    @param signatures Exactly k pairs (r, vs), signers ascending.
    @param leverage_e2 At most what the terms allow.
    """
    digest: bytes32 = self._taken(terms, signatures, leverage_e2)
    market: uint256 = convert(terms.market, uint256)
    mode: uint256 = convert(terms.margin_mode, uint256)
    health: IMarginEngine.Health = staticcall engine.health(margin_words.position_id(msg.sender, market, mode))
    if health.size == 0:
        refusals.refuse(refusals.NO_POSITION)
    # The signers judged the risk of one side.
    if health.long != (terms.side == 1):
        refusals.refuse(refusals.TERMS_OF_ANOTHER)
    # Terms for a small position are milder; they do not carry a large one.
    if margin_math.notional_up(health.size, health.price) > convert(terms.max_notional, uint256):
        refusals.refuse(refusals.NOTIONAL_ABOVE_TERMS)
    log TermsChanged(account=msg.sender, market=market, mode=mode, terms_hash=digest)
    extcall engine.retune(
        msg.sender,
        market,
        mode,
        convert(terms.nonce, uint256),
        leverage_e2,
        terms.adjustment == MANAGED,
        convert(terms.maintenance_ppm, uint256),
        convert(terms.maintenance_ceiling_ppm, uint256),
    )


@internal
@view
def _taken(
    terms: IRiskOracle.PositionTerms, signatures: DynArray[bytes32, 32], leverage_e2: uint256
) -> bytes32:
    """
    @notice Refuse terms that are not the caller's, not signed, or say what no position can be. The engine compares
            their nonce and the market's limits.
    @return What was signed.
    """
    # Terms are about one account's own history; a forwarder in between could use them up or sell them.
    if msg.sender != terms.account:
        refusals.refuse(refusals.TERMS_OF_ANOTHER)
    # A forgotten field is 0, and 0 means nothing.
    if (
        (terms.side != 1 and terms.side != -1)
        or (terms.margin_mode != 1 and terms.margin_mode != 2)
        or (terms.adjustment != FIXED and terms.adjustment != MANAGED)
    ):
        refusals.refuse(refusals.UNKNOWN_CHOICE)
    digest: bytes32 = staticcall oracle.verify_position_terms(terms, signatures)
    # The engine takes 0 for a request without terms: they would never be used up.
    if terms.nonce == 0:
        refusals.refuse(refusals.TERMS_USED)
    max_leverage: uint256 = convert(terms.max_leverage, uint256)
    if leverage_e2 < ONE_X or leverage_e2 > max_leverage:
        refusals.refuse(refusals.LEVERAGE_OUTSIDE_TERMS)
    maintenance_ppm: uint256 = convert(terms.maintenance_ppm, uint256)
    ceiling_ppm: uint256 = convert(terms.maintenance_ceiling_ppm, uint256)
    managed: bool = terms.adjustment == MANAGED
    # Maintenance is at most half of the initial margin, or a position could be liquidated where it was opened.
    asked: uint256 = 2 * maintenance_ppm * max_leverage
    if asked == 0 or asked > ONE_E2_PPM or ceiling_ppm > PPM or (managed and ceiling_ppm < maintenance_ppm):
        refusals.refuse(refusals.TERMS_INCOHERENT)
    # Above it, a ramp to the ceiling alone would liquidate a position whose price never moved.
    if managed and ceiling_ppm * leverage_e2 > ONE_E2_PPM:
        refusals.refuse(refusals.CEILING_UNBEARABLE)
    return digest


@internal
def _wait(request: IOrderDesk.Request, nonce: uint256, terms_hash: bytes32) -> bytes32:
    """
    @notice Let a request wait, and have the engine hold what it costs.
    @param nonce Of the terms; 0 without any.
    @param terms_hash What was signed; 0 without terms.
    @return Its hash.
    """
    id: bytes32 = keccak256(abi_encode(request))
    # Two of one hash would hold twice and be executed once.
    if self.pending[id] != 0:
        refusals.refuse(refusals.ALREADY_REQUESTED)
    self.pending[id] = 1
    log Requested(
        id=id,
        account=request.account,
        market=request.market,
        terms_hash=terms_hash,
        request=request,
    )
    extcall engine.hold(
        request.account, nonce, request.market, request.mode, request.fee, request.margin
    )
    return id


@internal
def _end(request: IOrderDesk.Request) -> bytes32:
    """
    @notice Take a request away, before anything else happens: it can be executed or cancelled once.
    @return Its hash.
    """
    id: bytes32 = keccak256(abi_encode(request))
    # Any changed field is another hash: nobody executes what was not asked for.
    if self.pending[id] == 0:
        refusals.refuse(refusals.NOT_REQUESTED)
    self.pending[id] = 0
    return id


@internal
@view
def _fee(market: uint256) -> uint256:
    """
    @notice Refuse a market that the engine has no rules for.
    @return What a request in it holds for its executor, USDC e6.
    """
    rules: uint256 = staticcall engine.rules(market)
    if rules == 0:
        refusals.refuse(refusals.UNKNOWN_MARKET)
    return (rules >> margin_words.EXECUTION_FEE_AT) & margin_words.BITS_24
