"""What each refusal of engine, vault and pool means (from 100): what is wrong, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from contracts.refusal_numbers import Refusal

MARGIN_MEANINGS: Final[Mapping[Refusal, str]] = MappingProxyType(
    {
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
            "The packed rules hold a field that is zero, too low, at its limit or incoherent."
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
            "prices, any other where only profit without a live price is missing."
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
