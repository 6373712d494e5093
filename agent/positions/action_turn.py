"""Signed actions, one turn at a time: decided, said, signed, and sent at a price of later.

Nothing is sent in the turn in which it was decided: the law closes at a price that was observed
after the signing. Until then each action is asked about again every turn, and dropped with the
law's own reason when the world has moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from agent.ports import Attestation, Delivery, Evidence, Records
from agent.positions.action_choice import Chooser, Scene
from agent.positions.action_law import Intended, verdict, written
from agent.positions.actions import (
    ActionSettings,
    Case,
    Withheld,
    cure_for,
)
from agent.positions.ahead import Ahead
from agent.proof.actions import Grounds, encode_action
from contracts.book_margin import health
from contracts.book_words import Account, PositionId, account_number, split_position_id
from contracts.messages import ActionKind, PositionAction
from relayer.delivery import calls
from relayer.delivery.calls import ContractCall
from relayer.delivery.settlement import settled
from relayer.delivery.states import Effective, Expired, Outcome, detail_of, state_of
from relayer.evidence import pack
from relayer.journal import DecisionEntry
from relayer.signing.values import NoQuorum, Proposal, SignedMessage

MS = 1_000
USDC, E18 = 10**6, 10**18
MINUTE_MS = 60_000
RESULTS = (
    *("suggested", "signed", "unsigned", "void", "deferred"),
    *("effective", "superseded", "expired", "failed"),
)
"""What becomes of an action; each is a metric label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionPorts:
    """What actions are made with; `payer` None: they are only suggested."""

    quorum: Attestation
    evidence: Evidence
    delivery: Delivery
    journal: Records
    payer: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """One action and what became of it in this turn."""

    what: Intended
    result: str
    detail: str
    evidence_hash: bytes = b""
    tx_hash: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """What people are told of an action: whom it concerns, and what they can do instead."""

    key: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A turn's decisions: what was done with each, what is to be said, why others were let be."""

    acted: tuple[Acted, ...] = ()
    said: tuple[Suggestion, ...] = ()
    withheld: tuple[Withheld, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A signed action that waits for its price; `sent`: its price was noted once already."""

    what: Intended
    signed: SignedMessage
    entry: DecisionEntry
    sent: bool = False

    @property
    def action(self) -> PositionAction:
        """The message."""
        assert isinstance(self.signed.message, PositionAction)
        return self.signed.message


class Actor:
    """Decides, has signed and sends; remembers what waits, and whom to let alone."""

    def __init__(
        self,
        settings: ActionSettings,
        ports: ActionPorts,
        liquidator: str,
        code: Mapping[str, str] | None = None,
    ) -> None:
        self._settings = settings
        self._ports = ports
        self._liquidator = liquidator
        self._code = dict(code or {})
        payer = ports.payer
        self.chooser = Chooser(settings, account_number(payer) if payer else Account(0))
        self.pending: tuple[Pending, ...] = ()

    def retune(self, settings: ActionSettings) -> None:
        """Act by other settings from the next turn on; what is signed already goes its way."""
        self._settings = settings
        self.chooser.retune(settings)

    @property
    def is_on(self) -> bool:
        """Tell whether anything is looked at."""
        return self._settings.mode != "off"

    @property
    def may_liquidate(self) -> bool:
        """Tell whether signers may be asked whom to liquidate."""
        return self._settings.mode == "execute" and self._settings.liquidate

    @property
    def looks_at(self) -> int:
        """How many positions are looked at in a turn."""
        return self._settings.looked_at_a_turn if self.is_on else 0

    @property
    def waiting_for(self) -> frozenset[Account]:
        """The accounts of what was signed and not sent yet."""
        return frozenset(split_position_id(each.what.identity)[0] for each in self.pending)

    @property
    def keeps_from_formula(self) -> frozenset[Account]:
        """The accounts in which the signers have chosen another position than the formula."""
        chosen = (e.what for e in self.pending if e.what.kind is ActionKind.LIQUIDATE)
        return frozenset(split_position_id(each.identity)[0] for each in chosen)

    @property
    def ahead(self) -> Ahead:
        """What the last cycle foresaw."""
        return self.chooser.ahead

    def expect(self, ahead: Ahead) -> None:
        """Take what the last cycle foresaw."""
        self.chooser.ahead = ahead

    async def send(self, scene: Scene) -> tuple[Acted, ...]:
        """Send what the law takes at this price, drop what is void, keep what waits."""
        acted = []
        for each in self.pending:
            done, kept = await self._send_one(each, scene)
            others = (e for e in self.pending if e is not each)
            self.pending = (*others, kept) if kept is not None else tuple(others)
            acted += [done] if done is not None else []
        return tuple(acted)

    async def decide(self, scene: Scene, candidates: Sequence[PositionId]) -> Decided:
        """Look at positions in trouble, the most urgent first, and do what is called for."""
        if not self.is_on or (self._ports.payer is None and self._settings.mode == "execute"):
            return Decided()
        found, withheld = self.chooser.choose(scene, candidates, self.waiting_for)
        acted: list[Acted] = []
        said: list[Suggestion] = []
        for case, grounds, what in found:
            said.append(suggestion_of(grounds, what, self._settings.mode))
            self.chooser.rest(what.identity, scene.now_ms)
            if self._settings.mode == "suggest":
                acted.append(Acted(what=what, result="suggested", detail=what.because[0]))
            else:
                acted.append(await self._sign(scene, grounds, case, what))
        return Decided(acted=tuple(acted), said=tuple(said), withheld=tuple(withheld))

    async def _sign(self, scene: Scene, grounds: Grounds, case: Case, what: Intended) -> Acted:
        """Keep the evidence, then ask the risk signers; the journal knows either way."""
        evidence_hash, bundle = pack(encode_action(grounds, case, what, self._code))
        await self._ports.evidence.keep(evidence_hash, bundle, {})
        hashes = (self.ahead.model_hash, evidence_hash)
        message = written(what, scene.now_ms, self._settings.valid_s, hashes)
        proposal = Proposal(message=message, domain=scene.domain)
        answer = await self._ports.quorum.collect(proposal)
        entry = DecisionEntry(
            kind="action",
            chain_id=scene.domain.chain_id,
            contract=self._liquidator,
            round=0,
            decided_at_ms=scene.now_ms,
            message_hash=proposal.digest,
            evidence_hash=evidence_hash,
            model_hash=message.model_hash,
        )
        if isinstance(answer, NoQuorum):
            said = "; ".join(f"{n}: {r.reason} ({r.field})" for n, r in answer.refusals.items())
            detail = f"{answer.given} of {answer.needed} signatures; {said}"
            await self._ports.journal.record_decision(
                replace(entry, state="unsigned", reason=detail)
            )
            return Acted(what=what, result="unsigned", detail=detail, evidence_hash=evidence_hash)
        await self._ports.journal.record_decision(entry)
        self.pending = (*self.pending, Pending(what=what, signed=answer, entry=entry))
        detail = f"by {len(answer.signers)} signers; it waits for a price of later"
        return Acted(what=what, result="signed", detail=detail, evidence_hash=evidence_hash)

    async def _send_one(self, each: Pending, scene: Scene) -> tuple[Acted | None, Pending | None]:
        payer = self._ports.payer
        assert payer is not None, "nothing is signed without one"
        caller = account_number(payer)
        said = verdict(scene.book, scene.readings, each.action, caller, scene.now_ms)
        if said.may_wait:
            return None, each
        if not said.may_go:
            void = Expired(detail=f"void before it was sent: {said.detail}")
            await self._ports.journal.settle_decision(settled(each.entry, void))
            return self._acted(each, "void", void), None
        outcome = await self._ports.delivery.call(self._call(each, scene.now_ms))
        if isinstance(outcome, Effective) and outcome.skipped:
            # its price was noted, nothing was closed: the second round agrees, or it expires
            return self._acted(each, "deferred", outcome), replace(each, sent=True)
        await self._ports.journal.settle_decision(settled(each.entry, outcome))
        return self._acted(each, state_of(outcome).value, outcome), None

    def _call(self, each: Pending, now_ms: int) -> ContractCall:
        return ContractCall(
            kind="action",
            chain_id=each.entry.chain_id,
            contract=self._liquidator,
            payload=calls.act(each.signed),
            made_at_ms=now_ms,
            valid_until_ms=each.action.valid_until_ms,
            named=None if each.sent else each.entry.message_hash,
        )

    @staticmethod
    def _acted(each: Pending, result: str, outcome: Outcome) -> Acted:
        return Acted(
            what=each.what,
            result=result,
            detail=detail_of(outcome),
            evidence_hash=each.entry.evidence_hash,
            tx_hash=outcome.tx_hash,
        )


def suggestion_of(grounds: Grounds, what: Intended, mode: str) -> Suggestion:
    """Say what is about to be done or would help, why, and what its owner can do instead."""
    found = health(grounds.book, grounds.readings, what.identity)
    margin, size = cure_for(found, what)
    account, market, _ = split_position_id(what.identity)
    verb = "would help" if mode == "suggest" else "goes to the signers"
    lines = [f"{what.name} {verb}: position {what.identity:046x} in market {market}"]
    lines += what.because
    cure = [f"add {margin / USDC:,.6f} USDC"] if margin else []
    cure += [f"close {size / E18:.18f}".rstrip("0")] if size else []
    if cure:
        lines.append(f"its owner can instead {' or '.join(cure)}")
    return Suggestion(key=f"{account:040x}", text="; ".join(lines))
