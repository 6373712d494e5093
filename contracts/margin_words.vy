# pragma version 0.4.3
"""
@title Margin words: how positions, accounts and markets lie in their slots
@license Apache-2.0
@notice Pure. The one place on chain that says where a field stands; contracts/book_words.py is its mirror.
@dev From the least significant bit.
     Position 0: size 120 | basis int112 | leverage_e2 16 | long 1 | managed 1 | adjusted 1.
     Position 1: collateral 64 | maintenance_ppm 20 | ceiling_ppm 20 | version 32 | stamp_ms 44 | cuts 15.
     Position 2 (where adjusted): from_ppm 20 | target_ppm 20 | begun_s 40 | ramp_s 24 | ai_epoch 6.
     Account: nonce 64 | promised 28 | count 4 | ten market ids of 16.
     Market 0: long_size 120 | short_size 120. 1 and 2: sum of size x basis, a side. 3: index int112 | rate int72 |
     at_s 40 | long_cuts 15 | short_cuts 15 | settled 1. 4: rules, as named below.
"""

ISOLATED: constant(uint256) = 1
CROSS: constant(uint256) = 2

BITS_4: constant(uint256) = 2**4 - 1
BITS_6: constant(uint256) = 2**6 - 1
BITS_15: constant(uint256) = 2**15 - 1
BITS_16: constant(uint256) = 2**16 - 1
BITS_20: constant(uint256) = 2**20 - 1
BITS_24: constant(uint256) = 2**24 - 1
BITS_28: constant(uint256) = 2**28 - 1
BITS_32: constant(uint256) = 2**32 - 1
BITS_40: constant(uint256) = 2**40 - 1
BITS_44: constant(uint256) = 2**44 - 1
BITS_48: constant(uint256) = 2**48 - 1
BITS_64: constant(uint256) = 2**64 - 1
BITS_72: constant(uint256) = 2**72 - 1
BITS_112: constant(uint256) = 2**112 - 1
SIZE_MASK: constant(uint256) = 2**120 - 1

# a position's id: account << 24 | market << 8 | mode
ID_MARKET_AT: constant(uint256) = 8
ID_ACCOUNT_AT: constant(uint256) = 24

# a position's word 0
BASIS_AT: constant(uint256) = 120
LEVERAGE_AT: constant(uint256) = 232
LONG_AT: constant(uint256) = 248
MANAGED_AT: constant(uint256) = 249
ADJUSTED_AT: constant(uint256) = 250
LONG_BIT: constant(uint256) = 1 << 248
MANAGED_BIT: constant(uint256) = 1 << 249
ADJUSTED_BIT: constant(uint256) = 1 << 250

# a position's word 1
MAINTENANCE_AT: constant(uint256) = 64
CEILING_AT: constant(uint256) = 84
VERSION_AT: constant(uint256) = 104
STAMP_AT: constant(uint256) = 136
CUTS_AT: constant(uint256) = 180

# a position's word 2
TARGET_AT: constant(uint256) = 20
BEGUN_AT: constant(uint256) = 40
RAMP_AT: constant(uint256) = 80
EPOCH_AT: constant(uint256) = 104

# an account's word
PROMISED_AT: constant(uint256) = 64
COUNT_AT: constant(uint256) = 92
MARKETS_AT: constant(uint256) = 96
MAX_CROSS: constant(uint256) = 10

# a market's word 3
RATE_AT: constant(uint256) = 112
AT_S_AT: constant(uint256) = 184
LONG_CUTS_AT: constant(uint256) = 224
SHORT_CUTS_AT: constant(uint256) = 239
SETTLED_AT: constant(uint256) = 255

# a market's rules
IMPACT_AT: constant(uint256) = 16
FUNDING_AT: constant(uint256) = 36
INTEREST_SHARE_AT: constant(uint256) = 56
SKEW_SHARE_AT: constant(uint256) = 76
PENALTY_MIN_AT: constant(uint256) = 96
PENALTY_MAX_AT: constant(uint256) = 112
CUT_SHARE_AT: constant(uint256) = 132
MIN_NOTIONAL_AT: constant(uint256) = 152
REWARD_AT: constant(uint256) = 176
EXECUTION_FEE_AT: constant(uint256) = 200
LIQUIDATION_AGE_AT: constant(uint256) = 224
BAND_AT: constant(uint256) = 240
# The narrowest band that rules may set. A price within it is near its average whatever the market's rules say, so
# whoever looks at ten markets need not read the rules of the quiet ones; and no liquidation waits for 1 % of noise.
LEAST_BAND_PPM: constant(uint256) = 10_000

# PriceFeed.mark's word: confidence_ppm 20 | observed_at_ms 48 | unconfirmed 1 | fresh 1 | new_risk 1
OBSERVED_AT: constant(uint256) = 20
UNCONFIRMED_BIT: constant(uint256) = 1 << 68
FRESH_BIT: constant(uint256) = 1 << 69
NEW_RISK_BIT: constant(uint256) = 1 << 70

# RiskOracle.margin's word
MAY_OPEN: constant(uint256) = 1
MAY_CLOSE: constant(uint256) = 2
MAY_LIQUIDATE: constant(uint256) = 4
MAY_WITHDRAW: constant(uint256) = 8
HALTED_BIT: constant(uint256) = 1 << 8
EFFECTIVE_AT: constant(uint256) = 16
CAP_AT: constant(uint256) = 36
FLOOR_AT: constant(uint256) = 52
PROFIT_SHARE_AT: constant(uint256) = 72
SPREAD_AT: constant(uint256) = 92
INTEREST_CAP_AT: constant(uint256) = 112
SCALE_AT: constant(uint256) = 160


@internal
@pure
def position_id(account: address, market: uint256, mode: uint256) -> uint256:
    """
    @notice A position's name: one an account, market and mode. The market must be below 2**16, the mode below 2**8.
    """
    return (convert(account, uint256) << ID_ACCOUNT_AT) | (market << ID_MARKET_AT) | mode


@internal
@pure
def basis(word: uint256) -> int256:
    """
    @param word A position's word 0.
    @return Its entry price less the funding index at entry, x 1e18, signed.
    """
    return convert(convert(word << 24, bytes32), int256) >> 144


@internal
@pure
def index(flow: uint256) -> int256:
    """
    @param flow A market's word 3.
    @return The funding index as it was stored: USDC a unit that longs have paid shorts, x 1e18.
    """
    return convert(convert(flow << 144, bytes32), int256) >> 144


@internal
@pure
def rate(flow: uint256) -> int256:
    """
    @param flow A market's word 3.
    @return What the index grows by in a second.
    """
    return convert(convert(flow << 72, bytes32), int256) >> 184


@internal
@view
def index_now(flow: uint256) -> int256:
    """
    @param flow A market's word 3.
    @return The funding index at this block; of a settled market where it stopped.
    @dev Unchecked: 72 bits x 40 bits, added to 112, lie far inside 256.
    """
    stored: int256 = convert(convert(flow << 144, bytes32), int256) >> 144
    if flow >> SETTLED_AT != 0:
        return stored
    elapsed_s: int256 = convert(unsafe_sub(block.timestamp, (flow >> AT_S_AT) & BITS_40), int256)
    return unsafe_add(stored, unsafe_mul(convert(convert(flow << 72, bytes32), int256) >> 184, elapsed_s))


@internal
@pure
def signed_112(number: int256) -> uint256:
    """
    @notice A basis or an index as its field holds it; reverts where it does not fit, which no price can bring about.
    """
    assert number >= -(2**111) and number < 2**111
    return convert(convert(number, bytes32), uint256) & BITS_112
