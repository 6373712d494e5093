# pragma version 0.4.3
"""
@title Refusals: the number of every guard, and the one way to refuse
@license Apache-2.0
@notice `Refused(uint256 code)` is the only error that these contracts raise on purpose. The names and one
        sentence each stand in contracts/refusals.py; a test holds the two lists together. Numbers are never
        used again for another meaning. Codes 50 to 79 also appear in events, as market << 16 | code, for the
        item of a batch that was skipped while the rest landed.
@dev A number costs 36 bytes of return data and no string in the bytecode.
"""

# authority
NOT_OWNER: constant(uint256) = 1
NOT_PENDING_OWNER: constant(uint256) = 2
NOT_GUARDIAN: constant(uint256) = 3
NOT_SCHEDULED: constant(uint256) = 4
TIMELOCK_RUNNING: constant(uint256) = 5
SCHEDULE_LAPSED: constant(uint256) = 6
ALREADY_SCHEDULED: constant(uint256) = 7
ALREADY_LAUNCHED: constant(uint256) = 8
ADDRESS_MISSING: constant(uint256) = 9
TIMELOCK_OUT_OF_RANGE: constant(uint256) = 10

# signatures and envelopes
TOO_FEW_SIGNATURES: constant(uint256) = 20
TOO_MANY_SIGNATURES: constant(uint256) = 21
ZERO_SIGNATURE: constant(uint256) = 22
MALLEABLE_SIGNATURE: constant(uint256) = 23
UNRECOVERABLE_SIGNATURE: constant(uint256) = 24
UNKNOWN_SIGNER: constant(uint256) = 25
DUPLICATE_SIGNER: constant(uint256) = 26
SIGNERS_NOT_ASCENDING: constant(uint256) = 27
STALE_ROUND: constant(uint256) = 28
ROUND_JUMP: constant(uint256) = 29
NO_WHOLE_WORDS: constant(uint256) = 30
FROM_THE_FUTURE: constant(uint256) = 31
OBSERVATION_TOO_OLD: constant(uint256) = 32
EXPIRED: constant(uint256) = 33
VALIDITY_TOO_LONG: constant(uint256) = 34
OBSERVATION_OUT_OF_RANGE: constant(uint256) = 35
SIGNER_EXISTS: constant(uint256) = 36
SIGNER_MISSING: constant(uint256) = 37
BELOW_THRESHOLD: constant(uint256) = 38
THRESHOLD_OUT_OF_RANGE: constant(uint256) = 39
TOO_MANY_SIGNERS: constant(uint256) = 40

# items of a batch; some of them also refuse calls about one market
NOT_CANONICAL: constant(uint256) = 50
UNKNOWN_MARKET: constant(uint256) = 51
OLDER_OBSERVATION: constant(uint256) = 52
ITEM_TOO_OLD: constant(uint256) = 53
AT_ABSOLUTE_LIMIT: constant(uint256) = 54
OUT_OF_BAND: constant(uint256) = 55
CLASS_VALIDITY_TOO_LONG: constant(uint256) = 56
TUPLE_INCOHERENT: constant(uint256) = 57
CAP_OUT_OF_BOUNDS: constant(uint256) = 58
OPEN_INTEREST_CAP_OUT_OF_BOUNDS: constant(uint256) = 59
SIZE_SCALE_OUT_OF_BOUNDS: constant(uint256) = 60
SPREAD_OUT_OF_BOUNDS: constant(uint256) = 61
RAMP_TOO_SHORT: constant(uint256) = 62
MARKET_FROZEN: constant(uint256) = 63
CAP_STEP_TOO_LARGE: constant(uint256) = 64
OPEN_INTEREST_CAP_STEP_TOO_LARGE: constant(uint256) = 65
SIZE_SCALE_STEP_TOO_LARGE: constant(uint256) = 66
SPREAD_STEP_TOO_LARGE: constant(uint256) = 67
TOO_SOON: constant(uint256) = 68
DRIFT_SPENT: constant(uint256) = 69

# halts, reverts and configuration
AI_INPUT_PAUSED: constant(uint256) = 80
EVERYTHING_PAUSED: constant(uint256) = 81
DECISION_KIND_DISABLED: constant(uint256) = 82
UNKNOWN_DECISION_KIND: constant(uint256) = 83
UNKNOWN_PAUSE_SCOPE: constant(uint256) = 84
PAUSE_OUT_OF_RANGE: constant(uint256) = 85
PAUSE_ALREADY_RUNNING: constant(uint256) = 86
LIQUIDATION_BUDGET_SPENT: constant(uint256) = 87
NOT_REVERTIBLE: constant(uint256) = 88
REVERT_WINDOW_CLOSED: constant(uint256) = 89
LIMIT_NOT_TIGHTER: constant(uint256) = 90
UNKNOWN_CLASS: constant(uint256) = 91
CLASS_RULES_INVALID: constant(uint256) = 92
MARKET_OUT_OF_ORDER: constant(uint256) = 93
TOO_MANY_MARKETS: constant(uint256) = 94
PAUSE_TOO_SHORT: constant(uint256) = 95
PAUSE_TOO_SOON: constant(uint256) = 96
UNKNOWN_EPOCH: constant(uint256) = 97

# engine
REENTERED: constant(uint256) = 100
NOT_DESK: constant(uint256) = 101
NOT_LIQUIDATOR: constant(uint256) = 102
BALANCE_SHORT: constant(uint256) = 103
MARGIN_LOCKED: constant(uint256) = 104
PRICE_NOT_READY: constant(uint256) = 105
OPENING_PAUSED: constant(uint256) = 106
CLOSING_PAUSED: constant(uint256) = 107
PRICE_OUTSIDE_WINDOW: constant(uint256) = 109
PRICE_NOT_ACCEPTABLE: constant(uint256) = 110
LOSS_EXCEEDS_MARGIN: constant(uint256) = 111
BELOW_MINIMUM_SIZE: constant(uint256) = 112
WOULD_BE_LIQUIDATABLE: constant(uint256) = 113
MAINTENANCE_TOO_LOW: constant(uint256) = 114
LEVERAGE_ABOVE_CAP: constant(uint256) = 115
OPEN_INTEREST_FULL: constant(uint256) = 116
SKEW_FULL: constant(uint256) = 117
MARGIN_SHORT: constant(uint256) = 118
TOO_MANY_POSITIONS: constant(uint256) = 119
RULES_INVALID: constant(uint256) = 120
PRICE_STILL_YOUNG: constant(uint256) = 121
NOT_SETTLED: constant(uint256) = 122
# requests
NOTHING_TO_REDUCE: constant(uint256) = 127
NOTIONAL_ABOVE_TERMS: constant(uint256) = 128
TERMS_USED: constant(uint256) = 129
TERMS_OF_ANOTHER: constant(uint256) = 130
UNKNOWN_CHOICE: constant(uint256) = 131
TERMS_INCOHERENT: constant(uint256) = 132
LEVERAGE_OUTSIDE_TERMS: constant(uint256) = 133
CEILING_UNBEARABLE: constant(uint256) = 134
MARGIN_NEEDS_ISOLATED: constant(uint256) = 135
AMOUNT_OUT_OF_RANGE: constant(uint256) = 136
ALREADY_REQUESTED: constant(uint256) = 137
NOT_REQUESTED: constant(uint256) = 138
OUTSIDE_WINDOW: constant(uint256) = 139

# liquidation
NO_POSITION: constant(uint256) = 140
LIQUIDATION_PAUSED: constant(uint256) = 141
PRICE_TOO_OLD: constant(uint256) = 142
PRICE_BEFORE_POSITION: constant(uint256) = 143
NOT_LIQUIDATABLE: constant(uint256) = 144
NOT_THE_LARGEST: constant(uint256) = 145
AWAITING_SECOND_ROUND: constant(uint256) = 146
GRACE_RUNNING: constant(uint256) = 147
WINDOW_USED_UP: constant(uint256) = 148
ACTION_VOID: constant(uint256) = 149
WRONG_ACTION_KIND: constant(uint256) = 150
PRICE_BEYOND_BOUND: constant(uint256) = 151
PRICE_BEFORE_ACTION: constant(uint256) = 152
NOT_MANAGED: constant(uint256) = 153
TRIGGER_GONE: constant(uint256) = 154
MARKET_NOT_LIVE: constant(uint256) = 155
NOTHING_TO_DELEVERAGE: constant(uint256) = 156
DELEVERAGED_TOO_FAR: constant(uint256) = 157
CUT_TOO_DEEP: constant(uint256) = 158
MARKET_SETTLED: constant(uint256) = 159

# vault and token
NOT_ENGINE: constant(uint256) = 160
NOT_POOL: constant(uint256) = 161
TOKEN_REFUSED: constant(uint256) = 162
TOKEN_AMOUNT_DIFFERS: constant(uint256) = 163
VAULT_SHORT: constant(uint256) = 164
TOKENS_MISSING: constant(uint256) = 165
NOTHING_TO_SWEEP: constant(uint256) = 166
TOKEN_DECIMALS: constant(uint256) = 167

# liquidity pool
NOT_VAULT: constant(uint256) = 170
POOL_EXHAUSTED: constant(uint256) = 171
UNKNOWN_TRANCHE: constant(uint256) = 172
AMOUNT_ZERO: constant(uint256) = 173
AMOUNT_TOO_LARGE: constant(uint256) = 174
UNKNOWN_REQUEST: constant(uint256) = 175
NOT_REQUESTER: constant(uint256) = 176
COOLDOWN_RUNNING: constant(uint256) = 177
NOT_LAPSED: constant(uint256) = 178
SHARES_ZERO: constant(uint256) = 179
ASSETS_ZERO: constant(uint256) = 180
RESERVE_NEEDED: constant(uint256) = 181
WITHDRAWALS_PAUSED: constant(uint256) = 182
USE_REQUESTS: constant(uint256) = 183
COOLDOWN_OUT_OF_RANGE: constant(uint256) = 184
SHARES_SHORT: constant(uint256) = 185
ALLOWANCE_SHORT: constant(uint256) = 186
RECEIVER_REFUSED: constant(uint256) = 187
POOL_UNDER_WATER: constant(uint256) = 188
SHARES_EXHAUSTED: constant(uint256) = 189

# valuation
EXPOSURE_UNKNOWN: constant(uint256) = 190


@internal
@pure
def refuse(code: uint256):
    """
    @notice Revert with `Refused(code)`.
    @dev Vyper 0.4.3 has no custom errors of its own; these are the bytes that Solidity's would make.
    @param code The guard's number.
    """
    raw_revert(abi_encode(code, method_id=method_id("Refused(uint256)")))
