"""Asks every signer at once and stops at k good signatures, each checked here, in the one order."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from functools import partial

import structlog

from relayer.errors import RelayerError
from relayer.metrics import Metrics
from relayer.signing.keys import recover
from relayer.signing.values import (
    NoQuorum,
    Proposal,
    Refusal,
    RefusalReason,
    SignedMessage,
    SignerAnswer,
    SignerPort,
    differences,
)


class Quorum:
    """The signers of one contract. Slow ones are counted when they answer, and hold up nobody."""

    def __init__(
        self,
        signers: Sequence[SignerPort],
        needed: int,
        timeout_s: float,
        metrics: Metrics,
        kind: str = "risk",
    ) -> None:
        self._signers = tuple(signers)
        self._needed = needed
        self._timeout_s = timeout_s
        self._metrics = metrics
        self._needs = metrics.quorum_needed_number[kind]
        self._needs.set(needed)
        self._log = structlog.get_logger("aml")
        self._registered = frozenset(signer.address for signer in signers)
        self._stragglers: set[asyncio.Task[Refusal | SignerAnswer]] = set()

    def follow(self, needed: int, registered: Sequence[str]) -> None:
        """Go by the contract's new configuration: how many it needs, and whose word counts."""
        self._needed = needed
        self._needs.set(needed)
        self._registered = frozenset(registered)
        # Who is not asked any more is not silent.
        for gone in (each for each in self._signers if each.address not in self._registered):
            self._metrics.signer_last_answer_timestamp_seconds[gone.name].set(math.nan)

    async def collect(self, proposal: Proposal) -> SignedMessage | NoQuorum:
        """Collect exactly the needed signatures, or say who refused and why."""
        names = {
            asyncio.create_task(self._ask(signer, proposal)): signer.name
            for signer in self._signers
            if signer.address in self._registered
        }
        answers: list[SignerAnswer] = []
        refusals: dict[str, Refusal] = {}
        waiting = set(names)
        while waiting and len(answers) < self._needed:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                self._sort(names[task], task.result(), answers, refusals)
        self._let_go(waiting, names)
        if answers and any(_disagrees(each) for each in refusals.values()):
            self._metrics.quorum_disagreements.inc()
        self._report(proposal, refusals)
        if len(answers) < self._needed:
            return NoQuorum(needed=self._needed, given=len(answers), refusals=refusals)
        return _signed(proposal, answers[: self._needed], refusals)

    def _report(self, proposal: Proposal, refusals: dict[str, Refusal]) -> None:
        """Say field by field where signers differ from what was proposed."""
        for difference in differences(refusals):
            self._log.warning(
                "signers_differ",
                message=type(proposal.message).__name__,
                digest="0x" + proposal.digest.hex(),
                field=difference.field,
                **{name.replace("-", "_"): said for name, said in difference.said.items()},
            )

    async def close(self) -> None:
        """Wait for the slow ones; each has its time limit."""
        await asyncio.gather(*self._stragglers)

    async def _ask(self, signer: SignerPort, proposal: Proposal) -> SignerAnswer | Refusal:
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await signer.sign(proposal)
        except TimeoutError:
            return _no_answer(f"nothing within {self._timeout_s} s")
        except RelayerError as exc:
            return _no_answer(str(exc))
        self._metrics.signer_last_answer_timestamp_seconds[signer.name].set_to_current_time()
        if isinstance(answer, Refusal):
            return answer
        if recover(proposal.digest, answer.signature) != signer.address:
            detail = f"not a signature of {signer.address} for this message"
            return Refusal(reason=RefusalReason.BAD_SIGNATURE, field="signature", detail=detail)
        return SignerAnswer(address=signer.address, signature=answer.signature)

    def _sort(
        self,
        name: str,
        answer: SignerAnswer | Refusal,
        answers: list[SignerAnswer],
        refusals: dict[str, Refusal],
    ) -> None:
        if isinstance(answer, SignerAnswer):
            answers.append(answer)
            return
        refusals[name] = answer
        self._metrics.signer_refusals[name, answer.reason.value].inc()

    def _let_go(
        self,
        waiting: set[asyncio.Task[Refusal | SignerAnswer]],
        names: dict[asyncio.Task[Refusal | SignerAnswer], str],
    ) -> None:
        for task in waiting:
            self._stragglers.add(task)
            task.add_done_callback(partial(self._count_late, names[task]))

    def _count_late(self, name: str, done: asyncio.Task[Refusal | SignerAnswer]) -> None:
        self._stragglers.discard(done)
        if not done.cancelled() and isinstance(refusal := done.result(), Refusal):
            self._metrics.signer_refusals[name, refusal.reason.value].inc()
            if _disagrees(refusal):
                self._metrics.quorum_disagreements.inc()


def _no_answer(detail: str) -> Refusal:
    return Refusal(reason=RefusalReason.NO_ANSWER, field="signer", detail=detail)


def _disagrees(refusal: Refusal) -> bool:
    """Tell whether a signer said something else: one that is silent says nothing."""
    return refusal.reason is not RefusalReason.NO_ANSWER


def _signed(
    proposal: Proposal, answers: Sequence[SignerAnswer], refusals: dict[str, Refusal]
) -> SignedMessage:
    ascending = sorted(answers, key=lambda answer: int(answer.address, 16))
    return SignedMessage(
        message=proposal.message,
        domain=proposal.domain,
        message_hash=proposal.digest,
        signatures=tuple(answer.signature for answer in ascending),
        signers=tuple(answer.address for answer in ascending),
        refusals=refusals,
    )
