"""The number of every guard of the contracts, its name, and a sentence: what is wrong, what to do.

`Refused(uint256 code)` is the only error that the contracts raise on purpose. Codes 50 to 79 also
stand in events, as market << 16 | code, for items of a batch that were skipped while the rest
landed. A test holds this table and contracts/refusals.vy together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from contracts.units import MarketId

REFUSED_SELECTOR: Final = bytes.fromhex("590a5151")
"""First four bytes of keccak256("Refused(uint256)")."""
_REFUSED_BYTES: Final = 36


class Refusal(IntEnum):
    """Why a contract refused; numbers are never used again for another meaning."""

    # authority
    NOT_OWNER = 1
    NOT_PENDING_OWNER = 2
    NOT_GUARDIAN = 3
    NOT_SCHEDULED = 4
    TIMELOCK_RUNNING = 5
    SCHEDULE_LAPSED = 6
    ALREADY_SCHEDULED = 7
    ALREADY_LAUNCHED = 8
    ADDRESS_MISSING = 9
    TIMELOCK_OUT_OF_RANGE = 10
    # signatures and envelopes
    TOO_FEW_SIGNATURES = 20
    TOO_MANY_SIGNATURES = 21
    ZERO_SIGNATURE = 22
    MALLEABLE_SIGNATURE = 23
    UNRECOVERABLE_SIGNATURE = 24
    UNKNOWN_SIGNER = 25
    DUPLICATE_SIGNER = 26
    SIGNERS_NOT_ASCENDING = 27
    STALE_ROUND = 28
    ROUND_JUMP = 29
    NO_WHOLE_WORDS = 30
    FROM_THE_FUTURE = 31
    OBSERVATION_TOO_OLD = 32
    EXPIRED = 33
    VALIDITY_TOO_LONG = 34
    OBSERVATION_OUT_OF_RANGE = 35
    SIGNER_EXISTS = 36
    SIGNER_MISSING = 37
    BELOW_THRESHOLD = 38
    THRESHOLD_OUT_OF_RANGE = 39
    TOO_MANY_SIGNERS = 40
    # items of a batch; some of them also refuse calls about one market
    NOT_CANONICAL = 50
    UNKNOWN_MARKET = 51
    OLDER_OBSERVATION = 52
    ITEM_TOO_OLD = 53
    AT_ABSOLUTE_LIMIT = 54
    OUT_OF_BAND = 55
    CLASS_VALIDITY_TOO_LONG = 56
    TUPLE_INCOHERENT = 57
    CAP_OUT_OF_BOUNDS = 58
    OPEN_INTEREST_CAP_OUT_OF_BOUNDS = 59
    SIZE_SCALE_OUT_OF_BOUNDS = 60
    SPREAD_OUT_OF_BOUNDS = 61
    RAMP_TOO_SHORT = 62
    MARKET_FROZEN = 63
    CAP_STEP_TOO_LARGE = 64
    OPEN_INTEREST_CAP_STEP_TOO_LARGE = 65
    SIZE_SCALE_STEP_TOO_LARGE = 66
    SPREAD_STEP_TOO_LARGE = 67
    TOO_SOON = 68
    DRIFT_SPENT = 69
    # halts, reverts and configuration
    AI_INPUT_PAUSED = 80
    EVERYTHING_PAUSED = 81
    DECISION_KIND_DISABLED = 82
    UNKNOWN_DECISION_KIND = 83
    UNKNOWN_PAUSE_SCOPE = 84
    PAUSE_OUT_OF_RANGE = 85
    PAUSE_ALREADY_RUNNING = 86
    LIQUIDATION_BUDGET_SPENT = 87
    NOT_REVERTIBLE = 88
    REVERT_WINDOW_CLOSED = 89
    LIMIT_NOT_TIGHTER = 90
    UNKNOWN_CLASS = 91
    CLASS_RULES_INVALID = 92
    MARKET_OUT_OF_ORDER = 93
    TOO_MANY_MARKETS = 94
    PAUSE_TOO_SHORT = 95
    PAUSE_TOO_SOON = 96
    UNKNOWN_EPOCH = 97
    # engine
    REENTERED = 100
    NOT_DESK = 101
    NOT_LIQUIDATOR = 102
    BALANCE_SHORT = 103
    MARGIN_LOCKED = 104
    PRICE_NOT_READY = 105
    OPENING_PAUSED = 106
    CLOSING_PAUSED = 107
    PRICE_OUTSIDE_WINDOW = 109
    PRICE_NOT_ACCEPTABLE = 110
    LOSS_EXCEEDS_MARGIN = 111
    BELOW_MINIMUM_SIZE = 112
    WOULD_BE_LIQUIDATABLE = 113
    MAINTENANCE_TOO_LOW = 114
    LEVERAGE_ABOVE_CAP = 115
    OPEN_INTEREST_FULL = 116
    SKEW_FULL = 117
    MARGIN_SHORT = 118
    TOO_MANY_POSITIONS = 119
    RULES_INVALID = 120
    PRICE_STILL_YOUNG = 121
    NOT_SETTLED = 122
    # requests
    NOTHING_TO_REDUCE = 127
    NOTIONAL_ABOVE_TERMS = 128
    TERMS_USED = 129
    TERMS_OF_ANOTHER = 130
    UNKNOWN_CHOICE = 131
    TERMS_INCOHERENT = 132
    LEVERAGE_OUTSIDE_TERMS = 133
    CEILING_UNBEARABLE = 134
    MARGIN_NEEDS_ISOLATED = 135
    AMOUNT_OUT_OF_RANGE = 136
    ALREADY_REQUESTED = 137
    NOT_REQUESTED = 138
    OUTSIDE_WINDOW = 139
    # liquidation
    NO_POSITION = 140
    LIQUIDATION_PAUSED = 141
    PRICE_TOO_OLD = 142
    PRICE_BEFORE_POSITION = 143
    NOT_LIQUIDATABLE = 144
    NOT_THE_LARGEST = 145
    AWAITING_SECOND_ROUND = 146
    GRACE_RUNNING = 147
    WINDOW_USED_UP = 148
    ACTION_VOID = 149
    WRONG_ACTION_KIND = 150
    PRICE_BEYOND_BOUND = 151
    PRICE_BEFORE_ACTION = 152
    NOT_MANAGED = 153
    TRIGGER_GONE = 154
    MARKET_NOT_LIVE = 155
    NOTHING_TO_DELEVERAGE = 156
    DELEVERAGED_TOO_FAR = 157
    CUT_TOO_DEEP = 158
    MARKET_SETTLED = 159
    # vault and token
    NOT_ENGINE = 160
    NOT_POOL = 161
    TOKEN_REFUSED = 162
    TOKEN_AMOUNT_DIFFERS = 163
    VAULT_SHORT = 164
    TOKENS_MISSING = 165
    NOTHING_TO_SWEEP = 166
    TOKEN_DECIMALS = 167
    # liquidity pool
    NOT_VAULT = 170
    POOL_EXHAUSTED = 171
    UNKNOWN_TRANCHE = 172
    AMOUNT_ZERO = 173
    AMOUNT_TOO_LARGE = 174
    UNKNOWN_REQUEST = 175
    NOT_REQUESTER = 176
    COOLDOWN_RUNNING = 177
    NOT_LAPSED = 178
    SHARES_ZERO = 179
    ASSETS_ZERO = 180
    RESERVE_NEEDED = 181
    WITHDRAWALS_PAUSED = 182
    USE_REQUESTS = 183
    COOLDOWN_OUT_OF_RANGE = 184
    SHARES_SHORT = 185
    ALLOWANCE_SHORT = 186
    RECEIVER_REFUSED = 187
    POOL_UNDER_WATER = 188
    SHARES_EXHAUSTED = 189
    # valuation
    EXPOSURE_UNKNOWN = 190


MEANINGS: Final[Mapping[Refusal, str]] = MappingProxyType(
    {
        Refusal.NOT_OWNER: "Only the owner may do this; send it from the owner's Safe.",
        Refusal.NOT_PENDING_OWNER: (
            "Ownership was not offered to the caller; have the owner propose it first."
        ),
        Refusal.NOT_GUARDIAN: "Only the guardian or the owner may do this.",
        Refusal.NOT_SCHEDULED: (
            "This exact call was not announced; schedule keccak256 of its calldata and wait."
        ),
        Refusal.TIMELOCK_RUNNING: "The announced call may not run yet; wait for its eta.",
        Refusal.SCHEDULE_LAPSED: (
            "The announced call was not made within 14 days of its eta; cancel and "
            "announce it again."
        ),
        Refusal.ALREADY_SCHEDULED: "This call is announced already; wait for its eta or cancel it.",
        Refusal.ALREADY_LAUNCHED: (
            "The contract has been launched; launching is one way and done once."
        ),
        Refusal.ADDRESS_MISSING: "An address is zero; give a real one.",
        Refusal.TIMELOCK_OUT_OF_RANGE: "The timelock is not between one hour and 30 days.",
        Refusal.TOO_FEW_SIGNATURES: (
            "Fewer signatures than the threshold; collect exactly as many as it says."
        ),
        Refusal.TOO_MANY_SIGNATURES: (
            "More signatures than the threshold; send exactly as many as it says."
        ),
        Refusal.ZERO_SIGNATURE: "r or s of a signature is zero; sign again.",
        Refusal.MALLEABLE_SIGNATURE: "s lies in the upper half of the order; send the low form.",
        Refusal.UNRECOVERABLE_SIGNATURE: "No key made this signature; sign again.",
        Refusal.UNKNOWN_SIGNER: (
            "Not signed by a registered signer of this chain, contract and configuration; "
            "read config_digest and sign again."
        ),
        Refusal.DUPLICATE_SIGNER: "One signer signed twice; send each signer's signature once.",
        Refusal.SIGNERS_NOT_ASCENDING: (
            "Signatures are not in ascending order of their signers' addresses; sort them."
        ),
        Refusal.STALE_ROUND: (
            "The round is not newer than the last accepted one; read latest_round."
        ),
        Refusal.ROUND_JUMP: (
            "The round is more than 2**32 ahead of the last accepted one; read latest_round."
        ),
        Refusal.NO_WHOLE_WORDS: "The message has no words, or part of one; post nothing instead.",
        Refusal.FROM_THE_FUTURE: (
            "The message was observed more than 2 s after the block's time; mend the clock."
        ),
        Refusal.OBSERVATION_TOO_OLD: "The message is older than its kind may be; observe again.",
        Refusal.EXPIRED: (
            "valid_until (of an update rounded down to 10 s) has passed, or lies before the "
            "observation; decide again."
        ),
        Refusal.VALIDITY_TOO_LONG: (
            "valid_until lies too far after the observation for this kind of message."
        ),
        Refusal.OBSERVATION_OUT_OF_RANGE: (
            "The observation lies outside the years that storage can count; mend the clock."
        ),
        Refusal.SIGNER_EXISTS: "The signer is registered already.",
        Refusal.SIGNER_MISSING: "No such signer is registered.",
        Refusal.BELOW_THRESHOLD: (
            "Removing the signer would leave fewer signers than signatures needed; add "
            "another first."
        ),
        Refusal.THRESHOLD_OUT_OF_RANGE: (
            "The threshold is not between one and the number of signers."
        ),
        Refusal.TOO_MANY_SIGNERS: "There are 16 signers already; remove one first.",
        Refusal.NOT_CANONICAL: (
            "A word or amount has another form of the same meaning, or bits without "
            "meaning; pack it again."
        ),
        Refusal.UNKNOWN_MARKET: "No such market was added to this contract.",
        Refusal.OLDER_OBSERVATION: "The market has an observation at least as new.",
        Refusal.ITEM_TOO_OLD: (
            "The market's observation is older than its class allows; observe again."
        ),
        Refusal.AT_ABSOLUTE_LIMIT: (
            "A price or confidence at its field's limit says nothing about the world; it "
            "is no price."
        ),
        Refusal.OUT_OF_BAND: (
            "The price moved further than the band allows so soon; the market is "
            "unconfirmed until a price inside arrives."
        ),
        Refusal.CLASS_VALIDITY_TOO_LONG: (
            "The update is valid for longer than the market's class allows."
        ),
        Refusal.TUPLE_INCOHERENT: (
            "maintenance_ppm is not floor(5e7 / cap_e2); decide the two together."
        ),
        Refusal.CAP_OUT_OF_BOUNDS: "The leverage cap lies outside its class's bounds.",
        Refusal.OPEN_INTEREST_CAP_OUT_OF_BOUNDS: (
            "The open-interest cap is above its class's bound."
        ),
        Refusal.SIZE_SCALE_OUT_OF_BOUNDS: (
            "The size scale is below its class's bound, or at its field's limit."
        ),
        Refusal.SPREAD_OUT_OF_BOUNDS: "The spread is above its class's bound.",
        Refusal.RAMP_TOO_SHORT: (
            "The ramp is shorter than the class's notice period; ask for 0 or for at least that."
        ),
        Refusal.MARKET_FROZEN: (
            "The market is frozen: its values may only be renewed until the owner unfreezes it."
        ),
        Refusal.CAP_STEP_TOO_LARGE: (
            "The leverage cap moves further than one step from its last accepted value; "
            "plan more steps."
        ),
        Refusal.OPEN_INTEREST_CAP_STEP_TOO_LARGE: (
            "The open-interest cap moves further than one step; plan more steps."
        ),
        Refusal.SIZE_SCALE_STEP_TOO_LARGE: (
            "The size scale moves further than one step; plan more steps."
        ),
        Refusal.SPREAD_STEP_TOO_LARGE: "The spread moves further than one step; plan more steps.",
        Refusal.TOO_SOON: "Loosening needs the class's delay since the last accepted change; wait.",
        Refusal.DRIFT_SPENT: (
            "Loosening this much now would exceed the market's daily drift budget; wait."
        ),
        Refusal.AI_INPUT_PAUSED: (
            "AI input is paused: decisions are refused until the pause ends or the owner resumes."
        ),
        Refusal.EVERYTHING_PAUSED: (
            "Everything is paused: decisions are refused until the pause ends or the owner resumes."
        ),
        Refusal.DECISION_KIND_DISABLED: (
            "This kind of decision is switched off until the owner enables it."
        ),
        Refusal.UNKNOWN_DECISION_KIND: (
            "No such kind of decision; kinds are 1 to 5, of actions 1 to 3."
        ),
        Refusal.UNKNOWN_PAUSE_SCOPE: "No such pause; scopes are 1 to 5.",
        Refusal.PAUSE_OUT_OF_RANGE: (
            "A pause lasts from one second to a day, of the owner to 30 days."
        ),
        Refusal.PAUSE_ALREADY_RUNNING: "This pause runs already; only the owner may extend it.",
        Refusal.LIQUIDATION_BUDGET_SPENT: (
            "The guardian's hour without liquidation is used up until the owner has acted."
        ),
        Refusal.NOT_REVERTIBLE: (
            "There is no accepted change to revert, or it was reverted already."
        ),
        Refusal.REVERT_WINDOW_CLOSED: (
            "The last change is older than a day; post an ordinary update instead."
        ),
        Refusal.LIMIT_NOT_TIGHTER: (
            "The guardian may only tighten a limit that runs; ask the owner to lift it."
        ),
        Refusal.UNKNOWN_CLASS: "No such class, or it has no rules; set them first.",
        Refusal.CLASS_RULES_INVALID: (
            "The packed rules hold a field that is zero, at its limit, incoherent or not canonical."
        ),
        Refusal.MARKET_OUT_OF_ORDER: "The id is not the next one; ids are given in order from 0.",
        Refusal.TOO_MANY_MARKETS: "All 65,536 market ids are given.",
        Refusal.PAUSE_TOO_SHORT: (
            "A guardian's pause of AI input or of everything lasts at least 660 s."
        ),
        Refusal.PAUSE_TOO_SOON: (
            "The guardian may pause this again only once as long as its last pause has passed; "
            "ask the owner."
        ),
        Refusal.UNKNOWN_EPOCH: "No such AI-input epoch; they are 0 to 63, as ai_epoch gives them.",
        Refusal.REENTERED: "The engine's lock is held: finish one action before the next.",
        Refusal.NOT_DESK: "Only the order desk may hold, release and execute requests.",
        Refusal.NOT_LIQUIDATOR: "Only the liquidator may do this.",
        Refusal.BALANCE_SHORT: (
            "The balance, less the fees promised, does not hold this amount; deposit first."
        ),
        Refusal.MARGIN_LOCKED: (
            "Initial margin, or a tenth of the notional, has to stay; take less out."
        ),
        Refusal.PRICE_NOT_READY: (
            "A price is not fresh, confirmed and sure enough, or its market is "
            "halted; wait for a round."
        ),
        Refusal.OPENING_PAUSED: "Nothing may be opened in this market now; only reduce.",
        Refusal.CLOSING_PAUSED: "The market or everything is paused; wait for its end.",
        Refusal.PRICE_OUTSIDE_WINDOW: (
            "The price was not observed inside the request's window; post a round, or cancel."
        ),
        Refusal.PRICE_NOT_ACCEPTABLE: "The price paid would be worse than the order accepts.",
        Refusal.LOSS_EXCEEDS_MARGIN: (
            "Loss and cost of the close exceed the position's margin; add margin first."
        ),
        Refusal.BELOW_MINIMUM_SIZE: (
            "The position would be worth less than the market's minimum; take more, or close all."
        ),
        Refusal.WOULD_BE_LIQUIDATABLE: (
            "What stays open would be below its maintenance margin; close more, or add margin."
        ),
        Refusal.MAINTENANCE_TOO_LOW: (
            "The terms ask less maintenance than the market does now; ask for new terms."
        ),
        Refusal.LEVERAGE_ABOVE_CAP: (
            "The leverage is above the market's cap for this size; take less of either."
        ),
        Refusal.OPEN_INTEREST_FULL: (
            "The side's open interest would pass its cap, or its share of the pool; take less."
        ),
        Refusal.SKEW_FULL: (
            "The market's skew would pass its share of the pool; take less, or the other side."
        ),
        Refusal.MARGIN_SHORT: "Equity would be below the initial margin; add margin, or take less.",
        Refusal.TOO_MANY_POSITIONS: "A cross account holds ten positions at most; close one first.",
        Refusal.RULES_INVALID: (
            "The packed rules hold a field that is zero, at its limit or incoherent."
        ),
        Refusal.PRICE_STILL_YOUNG: "The market's price is not a day old: it may still come back.",
        Refusal.NOT_SETTLED: "The market is not being settled; close the position instead.",
        Refusal.NOTHING_TO_REDUCE: "There is no position on the other side to reduce.",
        Refusal.NOTIONAL_ABOVE_TERMS: (
            "The position would be worth more than the terms allow; ask for terms of that size."
        ),
        Refusal.TERMS_USED: ("The terms' nonce is not above the last one used; ask for new terms."),
        Refusal.TERMS_OF_ANOTHER: "The terms are for another account or side; ask for your own.",
        Refusal.UNKNOWN_CHOICE: "Side, margin mode or adjustment is none of those that exist.",
        Refusal.TERMS_INCOHERENT: (
            "The terms contradict themselves: 2 x maintenance x leverage is 0 or above 1, or the "
            "ceiling below the maintenance."
        ),
        Refusal.LEVERAGE_OUTSIDE_TERMS: "The leverage is below 1x or above what the terms allow.",
        Refusal.CEILING_UNBEARABLE: (
            "The ceiling of the terms exceeds 1 / leverage; choose less leverage."
        ),
        Refusal.MARGIN_NEEDS_ISOLATED: (
            "A cross request carries no margin of its own; deposit instead."
        ),
        Refusal.AMOUNT_OUT_OF_RANGE: (
            "A size is zero, or a size or margin is more than its field holds."
        ),
        Refusal.ALREADY_REQUESTED: (
            "The same request was made in this second; wait for the next one."
        ),
        Refusal.NOT_REQUESTED: (
            "No such request waits: it was executed, cancelled, or never made as given; take it "
            "from its event."
        ),
        Refusal.OUTSIDE_WINDOW: (
            "A request is executed within 17 s, and cancelled only after them."
        ),
        Refusal.NO_POSITION: "There is no such position; it may have been closed.",
        Refusal.LIQUIDATION_PAUSED: (
            "Liquidation is paused here, or everything is; it ends by itself."
        ),
        Refusal.PRICE_TOO_OLD: "The price is too old to liquidate at; post a round.",
        Refusal.PRICE_BEFORE_POSITION: (
            "The price was observed no later than the position's last change; post a round."
        ),
        Refusal.NOT_LIQUIDATABLE: "Equity is not below maintenance margin.",
        Refusal.NOT_THE_LARGEST: (
            "In a cross account the position of the largest maintenance margin goes first."
        ),
        Refusal.AWAITING_SECOND_ROUND: (
            "The price is far from its average; a second round has to agree, or 30 s to pass."
        ),
        Refusal.GRACE_RUNNING: (
            "A partial liquidation waits five minutes after a pause of liquidation or a gap in "
            "prices."
        ),
        Refusal.WINDOW_USED_UP: (
            "The market's partial liquidations of this minute are used up; try in the next."
        ),
        Refusal.ACTION_VOID: (
            "The action is for another version of the position, or allows no size that may be "
            "closed."
        ),
        Refusal.WRONG_ACTION_KIND: "The action is of another kind than this function carries out.",
        Refusal.PRICE_BEYOND_BOUND: "The price is worse for the trader than the action allows.",
        Refusal.PRICE_BEFORE_ACTION: (
            "The price was observed no later than the action; post a round."
        ),
        Refusal.NOT_MANAGED: (
            "The position is fixed; only managed ones are adjusted or deleveraged by signed "
            "actions."
        ),
        Refusal.TRIGGER_GONE: (
            "Equity is not below the margin at the ceiling, or so low that liquidation takes over."
        ),
        Refusal.MARKET_NOT_LIVE: "The market is frozen or paused, or its price is not fresh.",
        Refusal.NOTHING_TO_DELEVERAGE: (
            "The side's profit is within its share of the pool's assets, or the pool has none."
        ),
        Refusal.DELEVERAGED_TOO_FAR: (
            "The cut would take more from the side than brings its profit to its share."
        ),
        Refusal.CUT_TOO_DEEP: (
            "The side was cut so often that too little of it would be left to count."
        ),
        Refusal.MARKET_SETTLED: "The market is settled for ever; settle the position instead.",
        Refusal.NOT_ENGINE: "Only the margin engine may do this; act through the engine.",
        Refusal.NOT_POOL: "Only the liquidity pool may do this.",
        Refusal.TOKEN_REFUSED: (
            "The token did not answer true; check balance, allowance, and whether the account "
            "may move it."
        ),
        Refusal.TOKEN_AMOUNT_DIFFERS: (
            "The token moved another amount than asked for; tokens with a fee on transfer cannot "
            "be used."
        ),
        Refusal.VAULT_SHORT: "More would leave the vault than traders are owed.",
        Refusal.TOKENS_MISSING: "Tokens would be counted that have not arrived; send them first.",
        Refusal.NOTHING_TO_SWEEP: "There are no tokens beyond those that are counted.",
        Refusal.TOKEN_DECIMALS: (
            "The token does not have six decimals, in which every amount is counted."
        ),
        Refusal.NOT_VAULT: "Only the vault or the engine may do this.",
        Refusal.POOL_EXHAUSTED: "Assets and insurance together cannot pay this profit.",
        Refusal.UNKNOWN_TRANCHE: "No such tranche; 1 is the pool, 2 the insurance.",
        Refusal.AMOUNT_ZERO: "The amount is zero; ask for something.",
        Refusal.AMOUNT_TOO_LARGE: (
            "The amount or its sum has more than 96 bits, which storage cannot count."
        ),
        Refusal.UNKNOWN_REQUEST: (
            "No such request of this kind is waiting; it never was, or it was executed or "
            "cancelled."
        ),
        Refusal.NOT_REQUESTER: "Only the owner of the request may cancel it.",
        Refusal.COOLDOWN_RUNNING: "The request may not be executed yet; wait for its ready_at.",
        Refusal.NOT_LAPSED: (
            "A request may be cancelled only a week after its ready_at; until then anybody may "
            "execute it."
        ),
        Refusal.SHARES_ZERO: (
            "The deposit would not buy one share; it can be cancelled a week after its ready_at."
        ),
        Refusal.ASSETS_ZERO: "The shares are worth nothing now; execute later.",
        Refusal.RESERVE_NEEDED: "The rest would not cover traders' open profit; execute later.",
        Refusal.WITHDRAWALS_PAUSED: (
            "Withdrawals are paused until the pause ends or the owner resumes."
        ),
        Refusal.USE_REQUESTS: (
            "Deposits and redemptions take two steps; use request_deposit or request_redeem."
        ),
        Refusal.COOLDOWN_OUT_OF_RANGE: "A cooldown is not between one hour and 30 days.",
        Refusal.SHARES_SHORT: "The account has fewer shares.",
        Refusal.ALLOWANCE_SHORT: "The owner allowed the caller fewer shares.",
        Refusal.RECEIVER_REFUSED: "Shares cannot be sent to nobody or to the pool itself.",
        Refusal.POOL_UNDER_WATER: (
            "Traders' open profit takes all that the pool has; execute the deposit later."
        ),
        Refusal.SHARES_EXHAUSTED: "The shares would be more than can be counted; deposit less.",
        Refusal.EXPOSURE_UNKNOWN: (
            "A market with positions has no fresh, confirmed price of that time; try again after "
            "its next round."
        ),
    }
)

_CODES: Final = frozenset(int(refusal) for refusal in Refusal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """An item of a batch that the contract leaves aside, and why."""

    market: MarketId
    refusal: Refusal

    @property
    def packed(self) -> int:
        """As it stands in the event: market << 16 | code."""
        return self.market << 16 | self.refusal


def unpack_skip(packed: int) -> Skip:
    """Read one entry of an event's `skipped`; ValueError for a code that has no name."""
    return Skip(market=MarketId(packed >> 16), refusal=Refusal(packed & 0xFFFF))


def decode_refusal(revert_data: bytes) -> Refusal | None:
    """Read a call's revert data; None when it is not a numbered refusal."""
    if len(revert_data) != _REFUSED_BYTES or revert_data[:4] != REFUSED_SELECTOR:
        return None
    code = int.from_bytes(revert_data[4:], "big")
    return Refusal(code) if code in _CODES else None
