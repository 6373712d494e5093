# pragma version 0.4.3
"""
@title Halts: pauses that are scoped and end by themselves, and decision kinds that can be switched off
@license Apache-2.0
@notice The guardian pauses at once, for at most a day, cannot lengthen a pause that runs, and must then leave
        its scope alone for as long as the pause lasted; the owner may extend, up to 30 days a call, and resumes
        at once. What the guardian stops of liquidation ends within
        one hour of its first stop, whatever it does, until the owner has acted. Adding margin is never paused.
@dev A module. Its word, from the least significant bit: new_risk_until 32 | ai_input_until 32 |
     withdrawals_until 32 | liquidation_until 32 | everything_until 32 | everything_liquidation_until 32 |
     guardian_budget_end 32 (0: unused). What every batch must know stands in quorum's stream, which it reads
     anyway: decisions_until 32 (the later of ai_input_until and everything_until) | ai_epoch 6 |
     disabled_kinds 5.
"""

from contracts import authority
from contracts import quorum
from contracts import refusals

uses: authority
uses: quorum

event Paused:
    scope: indexed(uint256)
    until_s: uint256
    liquidation_until_s: uint256
    by_owner: bool

event Resumed:
    scope: indexed(uint256)

event DecisionKindDisabled:
    kind: indexed(uint256)

event DecisionKindEnabled:
    kind: indexed(uint256)


# scopes; 0, what a forgotten field holds, means nothing
SCOPE_NEW_RISK: constant(uint256) = 1
SCOPE_AI_INPUT: constant(uint256) = 2
SCOPE_WITHDRAWALS: constant(uint256) = 3
SCOPE_LIQUIDATION: constant(uint256) = 4
SCOPE_EVERYTHING: constant(uint256) = 5

# decision kinds; an action's kind in PositionAction (1 to 3) plus 2
KIND_RISK_UPDATE: constant(uint256) = 1
KIND_POSITION_TERMS: constant(uint256) = 2
KIND_LIQUIDATE: constant(uint256) = 5

MAX_GUARDIAN_PAUSE_S: constant(uint256) = 86_400  # a day, in which the owner's signers can meet
# 63 of these outlast the longest validity (40,950 s): the guardian alone cannot bring an epoch round to a market
# that still holds it, whose ramp would leap to where it would be had nothing been paused.
MIN_GUARDIAN_AI_PAUSE_S: constant(uint256) = 660
MAX_OWNER_PAUSE_S: constant(uint256) = 2_592_000  # 30 days a call: an owner who is gone halts nothing for ever
LIQUIDATION_BUDGET_S: constant(uint256) = 3_600  # bad debt grows while nobody may liquidate

TIME_MASK: constant(uint256) = 2**32 - 1
AI_INPUT_AT: constant(uint256) = 32
WITHDRAWALS_AT: constant(uint256) = 64
LIQUIDATION_AT: constant(uint256) = 96
EVERYTHING_AT: constant(uint256) = 128
EVERYTHING_LIQUIDATION_AT: constant(uint256) = 160
BUDGET_AT: constant(uint256) = 192
CONTROLS_BITS: constant(uint256) = 224

# in quorum's stream
DECISIONS_AT: constant(uint256) = quorum.OWN_AT
EPOCH_AT: constant(uint256) = DECISIONS_AT + 32
KINDS_AT: constant(uint256) = EPOCH_AT + 6
EPOCH_MASK: constant(uint256) = 2**6 - 1
EPOCHS: constant(uint256) = 64

word: uint256
# Before when the guardian may not pause a scope again, 32 bits each in their order; 0 once the owner has acted.
guardian_rests: public(uint256)
# When the AI-input pause that ended an epoch began, Unix seconds. 64 epochs last longer than any parameters:
# to meet an epoch twice, the owner would have to pause or resume 64 times within one validity (11.4 hours).
epoch_ended_s: uint256[EPOCHS]


@external
def pause(scope: uint256, duration_s: uint256):
    """
    @notice Stop one thing for a while. Owner, or guardian: at most a day, AI input and everything at least 660 s,
            and not before as long as its last pause of this has passed since that ended.
    @param scope 1 new risk, 2 AI input, 3 withdrawals, 4 liquidation, 5 everything.
    @param duration_s From now.
    """
    by_owner: bool = authority._only_guardian()
    if scope == 0 or scope > SCOPE_EVERYTHING:
        refusals.refuse(refusals.UNKNOWN_PAUSE_SCOPE)
    until_s: uint256 = self._pause_end(duration_s, by_owner)
    at: uint256 = 32 * (scope - 1)
    controls: uint256 = self.word
    # A pause ends by itself: the guardian may not make it last by starting it over and over.
    if not by_owner and (controls >> at) & TIME_MASK > block.timestamp:
        refusals.refuse(refusals.PAUSE_ALREADY_RUNNING)
    rests: uint256 = self.guardian_rests
    if not by_owner and (rests >> at) & TIME_MASK > block.timestamp:
        refusals.refuse(refusals.PAUSE_TOO_SOON)
    if scope == SCOPE_AI_INPUT or scope == SCOPE_EVERYTHING:
        if not by_owner and duration_s < MIN_GUARDIAN_AI_PAUSE_S:
            refusals.refuse(refusals.PAUSE_TOO_SHORT)
        if not self._decisions_stopped():
            # Ramps that ran until now stop here for good; see RiskOracle._elapsed.
            epoch: uint256 = (quorum.stream >> EPOCH_AT) & EPOCH_MASK
            self.epoch_ended_s[epoch] = block.timestamp
            quorum.stream = self._put(quorum.stream, EPOCH_AT, EPOCH_MASK, (epoch + 1) % EPOCHS)
    self.guardian_rests = self._put(rests, at, TIME_MASK, self._rest_end(duration_s, by_owner))
    liquidation_until_s: uint256 = 0
    if scope >= SCOPE_LIQUIDATION:
        liquidation_until_s, controls = self._liquidation_end(controls, until_s, by_owner)
        if scope == SCOPE_LIQUIDATION:
            # A pause of nothing would look like one: say that the hour is used up.
            if liquidation_until_s == 0:
                refusals.refuse(refusals.LIQUIDATION_BUDGET_SPENT)
            until_s = liquidation_until_s
        else:
            # Stopping nothing of liquidation, it leaves standing when liquidation was last stopped.
            if liquidation_until_s != 0:
                controls = self._put(controls, EVERYTHING_LIQUIDATION_AT, TIME_MASK, liquidation_until_s)
    elif by_owner:
        controls = self._put(controls, BUDGET_AT, TIME_MASK, 0)
    self._store(self._put(controls, at, TIME_MASK, until_s))
    log Paused(
        scope=scope,
        until_s=until_s,
        liquidation_until_s=liquidation_until_s,
        by_owner=by_owner,
    )


@external
def resume(scope: uint256):
    """
    @notice End a pause at once. Owner; also gives the guardian its liquidation budget back, and lets it pause this.
    @param scope As given to `pause`.
    """
    authority._only_owner()
    if scope == 0 or scope > SCOPE_EVERYTHING:
        refusals.refuse(refusals.UNKNOWN_PAUSE_SCOPE)
    controls: uint256 = self.word
    # Of liquidation the end is kept: who could not act in the pause is given time after it.
    if scope == SCOPE_LIQUIDATION:
        controls = self._end_now(controls, LIQUIDATION_AT)
    else:
        controls = self._put(controls, 32 * (scope - 1), TIME_MASK, 0)
        if scope == SCOPE_EVERYTHING:
            controls = self._end_now(controls, EVERYTHING_LIQUIDATION_AT)
    self.guardian_rests = self._put(self.guardian_rests, 32 * (scope - 1), TIME_MASK, 0)
    self._store(self._put(controls, BUDGET_AT, TIME_MASK, 0))
    log Resumed(scope=scope)


@external
def disable_decision_kind(kind: uint256):
    """
    @notice Refuse one kind of signed decision from now on. Guardian; only the owner undoes it.
    @param kind 1 risk update, 2 position terms, 3 adjust, 4 deleverage, 5 liquidate.
    """
    authority._only_guardian()
    self._known_kind(kind)
    quorum.stream |= 1 << (KINDS_AT + kind - 1)
    log DecisionKindDisabled(kind=kind)


@external
def enable_decision_kind(kind: uint256):
    """
    @notice Accept a kind of signed decision again. Owner.
    @param kind As given to `disable_decision_kind`.
    """
    authority._only_owner()
    self._known_kind(kind)
    quorum.stream &= ~(1 << (KINDS_AT + kind - 1))
    log DecisionKindEnabled(kind=kind)


@external
@view
def controls() -> (uint256, uint256[EPOCHS]):
    """
    @return The packed pauses with ai_epoch 6 | disabled_kinds 5 above them, and when each AI-input epoch ended
            (Unix seconds; 0: not yet).
    """
    return self.word | ((quorum.stream >> EPOCH_AT) << CONTROLS_BITS), self.epoch_ended_s


@external
@view
def ai_epoch() -> uint256:
    """
    @return The AI-input epoch that runs: pauses of AI input and of everything, counted modulo 64.
    """
    return (quorum.stream >> EPOCH_AT) & EPOCH_MASK


@external
@view
def ramp_stopped_at(epoch: uint256) -> uint256:
    """
    @notice When ramps stopped that were accepted in an AI-input epoch.
    @param epoch As `ai_epoch` gave it then, 0 to 63. Numbers come round: of an epoch long ago, the answer is about
                 the latest one with its number.
    @return Unix seconds when the pause that ended it began; 0 while it runs, or before there was one.
    """
    if epoch > EPOCH_MASK:
        refusals.refuse(refusals.UNKNOWN_EPOCH)
    # What stands there while it runs is about the last epoch with this number.
    if epoch == (quorum.stream >> EPOCH_AT) & EPOCH_MASK:
        return 0
    return self.epoch_ended_s[epoch]


@external
@view
def ramp_elapsed_s(epoch: uint256, begun_s: uint256) -> uint256:
    """
    @notice How long a ramp has run: until now, or until the AI-input epoch ended in which it began.
    @param epoch As `ai_epoch` gave it when the ramp began, 0 to 63.
    @param begun_s When it began, Unix seconds.
    @return Seconds; 0 where the epoch's number has come round since: it is not known any more where the ramp stopped,
            and had it gone on, what it ramps would leap.
    """
    if epoch > EPOCH_MASK:
        refusals.refuse(refusals.UNKNOWN_EPOCH)
    # Between two epochs of one number, the one before it has ended.
    if self.epoch_ended_s[(epoch + EPOCH_MASK) & EPOCH_MASK] > begun_s:
        return 0
    stopped_s: uint256 = block.timestamp
    if epoch != (quorum.stream >> EPOCH_AT) & EPOCH_MASK:
        stopped_s = self.epoch_ended_s[epoch]
    return max(stopped_s, begun_s) - begun_s


@internal
@view
def _pause_end(duration_s: uint256, by_owner: bool) -> uint256:
    """
    @param duration_s From now.
    @param by_owner Whether the owner asks.
    @return When the pause ends; refuses none and too long.
    """
    longest: uint256 = MAX_GUARDIAN_PAUSE_S
    if by_owner:
        longest = MAX_OWNER_PAUSE_S
    if duration_s == 0 or duration_s > longest:
        refusals.refuse(refusals.PAUSE_OUT_OF_RANGE)
    return block.timestamp + duration_s


@internal
@view
def _rest_end(duration_s: uint256, by_owner: bool) -> uint256:
    """
    @param duration_s How long a pause that begins now lasts.
    @param by_owner Whether the owner asks, which lets the guardian pause again at once.
    @return Before when the guardian may not begin it again: else it could halt for ever, a day at a time.
    """
    if by_owner:
        return 0
    return block.timestamp + 2 * duration_s


@internal
@view
def _liquidation_end(controls: uint256, until_s: uint256, by_owner: bool) -> (uint256, uint256):
    """
    @notice Until when a pause may stop liquidation, and the word with the guardian's budget after it.
    @param controls The word before.
    @param until_s When the pause ends for everything else.
    @param by_owner The owner is not bound, and by acting gives the guardian a new budget.
    @return The end (0: the guardian's hour is used up), and the word.
    """
    if by_owner:
        return until_s, self._put(controls, BUDGET_AT, TIME_MASK, 0)
    budget_end: uint256 = (controls >> BUDGET_AT) & TIME_MASK
    if budget_end == 0:
        budget_end = block.timestamp + LIQUIDATION_BUDGET_S
    elif budget_end <= block.timestamp:
        return 0, controls
    return min(until_s, budget_end), self._put(controls, BUDGET_AT, TIME_MASK, budget_end)


@internal
def _store(controls: uint256):
    """
    @notice Write the pauses, and what of them every batch must know.
    @param controls The packed pauses.
    """
    self.word = controls
    until_s: uint256 = max(
        (controls >> AI_INPUT_AT) & TIME_MASK, (controls >> EVERYTHING_AT) & TIME_MASK
    )
    quorum.stream = self._put(quorum.stream, DECISIONS_AT, TIME_MASK, until_s)


@internal
@view
def _end_now(controls: uint256, at: uint256) -> uint256:
    """
    @param controls A word with an end of a liquidation pause in it.
    @param at Where it stands.
    @return The word with that end no later than now.
    """
    return self._put(controls, at, TIME_MASK, min((controls >> at) & TIME_MASK, block.timestamp))


@internal
@view
def _decisions_stopped() -> bool:
    """
    @return Whether decisions are refused: AI input or everything is paused.
    """
    return (quorum.stream >> DECISIONS_AT) & TIME_MASK > block.timestamp


@internal
@view
def _accepting(stream: uint256, kind: uint256):
    """
    @notice Refuse a decision while its kind is off or AI input is paused.
    @param stream quorum's word.
    @param kind The decision's.
    """
    if (stream >> unsafe_add(KINDS_AT - 1, kind)) & 1 != 0:
        refusals.refuse(refusals.DECISION_KIND_DISABLED)
    if (stream >> DECISIONS_AT) & TIME_MASK > block.timestamp:
        # Named by the scope that the owner has to resume.
        if (self.word >> AI_INPUT_AT) & TIME_MASK > block.timestamp:
            refusals.refuse(refusals.AI_INPUT_PAUSED)
        refusals.refuse(refusals.EVERYTHING_PAUSED)


@internal
@pure
def _known_kind(kind: uint256):
    """
    @notice Refuse a kind that does not exist.
    """
    if kind == 0 or kind > KIND_LIQUIDATE:
        refusals.refuse(refusals.UNKNOWN_DECISION_KIND)


@internal
@pure
def _put(controls: uint256, at: uint256, mask: uint256, field: uint256) -> uint256:
    """
    @return The word with one field replaced.
    """
    return (controls & ~(mask << at)) | (field << at)
