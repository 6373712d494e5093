"""Facts about the quorum: k of n, in the contract's order, whoever is slow, silent or lying."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from contracts.messages import calldata, parse_calldata
from relayer.errors import Unreachable
from relayer.metrics import Metrics
from relayer.signing.keys import Key, recover
from relayer.signing.quorum import Quorum
from relayer.signing.values import (
    NoQuorum,
    Proposal,
    Refusal,
    RefusalReason,
    SignedMessage,
    SignerAnswer,
)
from tests.relayer import builders as b

Behaviour = Callable[[Proposal, Key], Awaitable[SignerAnswer | Refusal]]
REFUSAL = Refusal(reason=RefusalReason.OFF_OWN_MARK, field="price of market 0", detail="far")


@dataclass
class FakeSigner:
    """Signs as told."""

    number: int
    behaviour: Behaviour
    asked: int = field(default=0)

    @property
    def name(self) -> str:
        return f"signer-{self.number}"

    @property
    def address(self) -> str:
        return b.PRICE_KEYS[self.number].address

    async def sign(self, proposal: Proposal) -> SignerAnswer | Refusal:
        self.asked += 1
        return await self.behaviour(proposal, b.PRICE_KEYS[self.number])


async def honest(proposal: Proposal, key: Key) -> SignerAnswer | Refusal:
    return SignerAnswer(address=key.address, signature=key.sign_digest(proposal.digest))


async def refusing(proposal: Proposal, key: Key) -> SignerAnswer | Refusal:
    return REFUSAL


async def silent(proposal: Proposal, key: Key) -> SignerAnswer | Refusal:
    await asyncio.Event().wait()
    raise AssertionError


async def lying(proposal: Proposal, key: Key) -> SignerAnswer | Refusal:
    return SignerAnswer(address=key.address, signature=b.key(99).sign_digest(proposal.digest))


async def other_message(proposal: Proposal, key: Key) -> SignerAnswer | Refusal:
    return SignerAnswer(address=key.address, signature=key.sign_digest(b"\x01" * 32))


async def garbage(proposal: Proposal, key: Key) -> SignerAnswer | Refusal:
    return SignerAnswer(address=key.address, signature=b"\xff" * 7)


async def unreachable(proposal: Proposal, key: Key) -> SignerAnswer | Refusal:
    raise Unreachable("refused")


def quorum(metrics: Metrics, *behaviours: Behaviour, needed: int = 2) -> Quorum:
    signers = [FakeSigner(number, behaviour) for number, behaviour in enumerate(behaviours)]
    return Quorum(signers, needed, 0.05, metrics)


def refused(metrics: Metrics, name: str, reason: RefusalReason) -> float:
    return metrics.signer_refusals[name, reason.value]._value.get()


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_collect__all_honest__exactly_k_ascending_and_each_recovers(
    order: tuple[int, ...],
) -> None:
    proposal = b.price_proposal()
    signers = [FakeSigner(number, honest) for number in order]
    signed = await Quorum(signers, 2, 1.0, b.metrics()).collect(proposal)
    assert isinstance(signed, SignedMessage)
    assert len(signed.signatures) == 2
    numbers = [int(address, 16) for address in signed.signers]
    assert numbers == sorted(numbers)
    found = [recover(signed.message_hash, signature) for signature in signed.signatures]
    assert found == list(signed.signers)
    assert parse_calldata(calldata(signed.message, signed.signatures))[0] == proposal.message


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (refusing, RefusalReason.OFF_OWN_MARK),
        (lying, RefusalReason.BAD_SIGNATURE),
        (other_message, RefusalReason.BAD_SIGNATURE),
        (garbage, RefusalReason.BAD_SIGNATURE),
    ],
)
async def test_collect__one_bad_signer__the_others_are_enough_and_it_is_counted(
    bad: Behaviour, reason: RefusalReason
) -> None:
    metrics = b.metrics()
    signed = await quorum(metrics, bad, honest, honest).collect(b.price_proposal())
    assert isinstance(signed, SignedMessage)
    assert b.PRICE_KEYS[0].address not in signed.signers
    assert signed.refusals["signer-0"].reason is reason
    assert refused(metrics, "signer-0", reason) == 1
    assert metrics.quorum_disagreements._value.get() == 1


async def test_collect__one_cannot_be_reached__is_counted_and_is_no_disagreement() -> None:
    metrics = b.metrics()
    signed = await quorum(metrics, unreachable, honest, honest).collect(b.price_proposal())
    assert isinstance(signed, SignedMessage)
    assert refused(metrics, "signer-0", RefusalReason.NO_ANSWER) == 1
    assert metrics.quorum_disagreements._value.get() == 0


async def test_collect__silent_signer__holds_up_nobody_and_is_counted_later() -> None:
    metrics = b.metrics()
    asked = quorum(metrics, silent, honest, honest)
    assert isinstance(await asked.collect(b.price_proposal()), SignedMessage)
    assert refused(metrics, "signer-0", RefusalReason.NO_ANSWER) == 0
    await asked.close()
    assert refused(metrics, "signer-0", RefusalReason.NO_ANSWER) == 1
    assert metrics.quorum_disagreements._value.get() == 0


async def test_collect__too_few__says_who_and_why() -> None:
    answer = await quorum(b.metrics(), honest, refusing, silent).collect(b.price_proposal())
    assert isinstance(answer, NoQuorum)
    assert (answer.needed, answer.given) == (2, 1)
    reasons = {name: refusal.reason for name, refusal in answer.refusals.items()}
    assert reasons == {
        "signer-1": RefusalReason.OFF_OWN_MARK,
        "signer-2": RefusalReason.NO_ANSWER,
    }


async def test_collect__all_refuse__is_no_disagreement() -> None:
    metrics = b.metrics()
    answer = await quorum(metrics, refusing, refusing, refusing).collect(b.price_proposal())
    assert isinstance(answer, NoQuorum)
    assert metrics.quorum_disagreements._value.get() == 0


async def test_collect__every_signer_is_asked_at_once() -> None:
    signers = [FakeSigner(number, silent) for number in range(3)]
    await Quorum(signers, 2, 0.01, b.metrics()).collect(b.price_proposal())
    assert [signer.asked for signer in signers] == [1, 1, 1]


async def test_follow__signer_no_longer_registered__is_neither_asked_nor_silent() -> None:
    metrics = b.metrics()
    signers = [FakeSigner(number, honest) for number in range(3)]
    made = Quorum(signers, 2, 5.0, metrics)
    ages = metrics.signer_last_answer_timestamp_seconds
    await made.collect(b.price_proposal())
    await made.close()
    assert ages["signer-0"]._value.get() > 0
    made.follow(2, [each.address for each in signers[1:]])
    assert math.isnan(ages["signer-0"]._value.get())
    assert isinstance(await made.collect(b.price_proposal()), SignedMessage)
    assert signers[0].asked == 1
    await made.close()
