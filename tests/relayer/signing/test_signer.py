"""Facts about a signer and its memory: one message a round, whatever happens in between."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from dataclasses import dataclass, field, replace

import pytest
import sqlalchemy as sa

from contracts.units import UnixMs
from relayer.errors import ChainMoved, RelayerError
from relayer.signing.keys import recover
from relayer.signing.memory import SignedRounds
from relayer.signing.signer import Signer, SignerPorts
from relayer.signing.values import (
    Proposal,
    Refusal,
    RefusalReason,
    SignerAnswer,
    SignerView,
)
from relayer.storage import Database
from tests.relayer import builders as b

REMEMBERED = "remembered"


@dataclass
class Views:
    """A view that the test holds."""

    shown: SignerView = field(default_factory=b.signer_view)
    fault: RelayerError | None = None

    async def view(self, proposal: Proposal) -> SignerView:
        if self.fault:
            raise self.fault
        return self.shown


def signer(database: Database, views: Views | None = None) -> Signer:
    ports = SignerPorts(views=views or Views(), memory=SignedRounds(database))
    return Signer("signer-0", b.PRICE_KEYS[0], ports, b.signer_rules())


async def test_sign__sound__is_its_signature_of_the_message(database: Database) -> None:
    proposal = b.price_proposal()
    answer = await signer(database).sign(proposal)
    assert isinstance(answer, SignerAnswer)
    assert recover(proposal.digest, answer.signature) == b.PRICE_KEYS[0].address == answer.address


async def test_sign__same_message_again__is_the_same_signature(database: Database) -> None:
    one = signer(database)
    assert await one.sign(b.price_proposal()) == await one.sign(b.price_proposal())


async def test_sign__another_message_for_a_signed_round__is_refused(database: Database) -> None:
    one, proposal = signer(database), b.price_proposal()
    await one.sign(proposal)
    verdict = await one.sign(b.renewed(proposal, evidence_hash=b"\xdd" * 32))
    assert isinstance(verdict, Refusal)
    assert (verdict.reason, verdict.field) == (RefusalReason.SIGNED_ANOTHER, "round")
    assert proposal.digest.hex() in verdict.detail


async def test_sign__after_a_restart__still_remembers(database_url: str) -> None:
    proposal = b.price_proposal()
    async with b.database(database_url) as before:
        await signer(before).sign(proposal)
    async with b.database(database_url) as after:
        verdict = await signer(after).sign(b.renewed(proposal, evidence_hash=b"\xdd" * 32))
    assert isinstance(verdict, Refusal)
    assert verdict.reason is RefusalReason.SIGNED_ANOTHER


async def test_sign__two_different_messages_at_once__signs_one(database: Database) -> None:
    one, proposal = signer(database), b.price_proposal()
    others = [b.renewed(proposal, evidence_hash=bytes([n]) * 32) for n in range(1, 9)]
    answers = await asyncio.gather(*(one.sign(other) for other in others))
    assert sum(isinstance(answer, SignerAnswer) for answer in answers) == 1


async def test_remember__two_processes_at_once__one_word_stands(database_url: str) -> None:
    proposal = b.price_proposal()
    other = b.renewed(proposal, evidence_hash=b"\xdd" * 32)
    async with b.database(database_url) as first, b.database(database_url) as second:
        standing = await asyncio.gather(
            SignedRounds(first).remember("0xa", proposal.posted.round, proposal, 1),
            SignedRounds(second).remember("0xa", other.posted.round, other, 1),
        )
    assert len(set(standing)) == 1


async def test_sign__refused__remembers_nothing(database: Database) -> None:
    views = Views()
    views.shown = replace(views.shown, now_ms=UnixMs(b.NOW_MS + 60_000))
    assert isinstance(await signer(database, views).sign(b.price_proposal()), Refusal)
    memory = SignedRounds(database)
    assert await memory.signed_above(b.CHAIN_ID, b.PRICE_FEED, 0) == frozenset()
    assert isinstance(await signer(database).sign(b.price_proposal()), SignerAnswer)
    assert await memory.signed_above(b.CHAIN_ID, b.PRICE_FEED, 0) == {10}


async def test_signed_above__counts_every_signer_of_that_contract_only(database: Database) -> None:
    memory = SignedRounds(database)
    for name, round_ in (("0xa", 9), ("0xa", 11), ("0xb", 11), ("0xb", 13)):
        await memory.remember(name, round_, b.price_proposal(b.price_round(round_=round_)), 1)
    assert await memory.signed_above(b.CHAIN_ID, b.PRICE_FEED, 9) == {11, 13}
    assert await memory.signed_above(b.CHAIN_ID, "0x" + "cc" * 20, 0) == frozenset()
    assert await memory.signed_above(b.CHAIN_ID + 1, b.PRICE_FEED, 0) == frozenset()


async def test_sign__view_cannot_be_had__is_refused_not_raised(database: Database) -> None:
    verdict = await signer(database, Views(fault=ChainMoved("moved"))).sign(b.price_proposal())
    assert isinstance(verdict, Refusal)
    assert verdict.reason is RefusalReason.NO_VIEW


async def test_sign__memory_cannot_be_written__no_signature(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE signed_rounds"))
    verdict = await signer(database).sign(b.price_proposal())
    assert isinstance(verdict, Refusal)
    assert verdict.reason is RefusalReason.NO_MEMORY


@pytest.mark.loopback
async def test_sign__sigkill_between_remembering_and_answering__signs_that_message_only(
    database_url: str,
) -> None:
    """The one who was killed gave no signature; the next life gives it, and no other one."""
    killed_before_it_answers(database_url)
    proposal = b.price_proposal()
    async with b.database(database_url) as after:
        other = await signer(after).sign(b.renewed(proposal, evidence_hash=b"\xdd" * 32))
        again = await signer(after).sign(proposal)
    assert isinstance(other, Refusal)
    assert other.reason is RefusalReason.SIGNED_ANOTHER
    assert isinstance(again, SignerAnswer)
    assert recover(proposal.digest, again.signature) == b.PRICE_KEYS[0].address


def killed_before_it_answers(database_url: str) -> None:
    """Let a process remember a round, and kill it while its key is asked."""
    command = [sys.executable, "-m", "tests.relayer.signing.killed", database_url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == REMEMBERED
    process.kill()
    assert process.wait() == -signal.SIGKILL
