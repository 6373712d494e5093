"""What each refusal of feed, oracle and authority means (1 to 99): what is wrong, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from contracts.refusal_numbers import Refusal

ORACLE_MEANINGS: Final[Mapping[Refusal, str]] = MappingProxyType(
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
    }
)
