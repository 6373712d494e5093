"""Facts about signers in processes of their own: who is heard, what is refused, what is signed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import aiohttp
import pytest

from contracts.messages import Domain
from relayer.metrics import Metrics
from relayer.signing import wire
from relayer.signing.keys import Key
from relayer.signing.pace import Pace
from relayer.signing.server import PATH
from relayer.signing.transport import ANSWER_HEADER, is_answer, seal_request
from relayer.signing.values import (
    NoQuorum,
    Proposal,
    Refusal,
    RefusalReason,
    SignedMessage,
    SignerAnswer,
)
from relayer.storage import Database
from tests.relayer import builders as b
from tests.relayer.signing import processes as p
from tests.relayer.signing.processes import RELAY, SIGNERS, TRANSPORT, House, Wall

pytestmark = pytest.mark.loopback


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
async def house(database: Database, wall: Wall) -> AsyncIterator[House]:
    async with p.house(0, database, wall) as opened:
        yield opened


async def ask(
    house: House,
    body: bytes,
    *,
    key: Key = RELAY,
    receiver: str = "",
    time_ms: int = 0,
    headers: dict[str, str] | None = None,
) -> tuple[int, Refusal | SignerAnswer, dict[str, str]]:
    """Send bytes as anybody could; gives the status, the answer, and the headers it came with."""
    receiver = receiver or TRANSPORT[house.number].address
    seal = seal_request(key, receiver, PATH, body, time_ms or Wall().now)
    sent = headers if headers is not None else seal.headers()
    async with (
        aiohttp.ClientSession() as session,
        session.post(house.url + PATH, data=body, headers=sent) as response,
    ):
        answer = await response.read()
        said = response.headers.get(ANSWER_HEADER, "")
        if said:
            transport = TRANSPORT[house.number].address
            assert is_answer(said, transport, seal, response.status, answer)
        return response.status, wire.decode_answer(answer), dict(sent)


def proposal() -> Proposal:
    return b.price_proposal()


async def test_sign__a_known_relay_proposes__is_the_signers_signature(house: House) -> None:
    asked = proposal()
    status, answer, _ = await ask(house, wire.encode_proposal(asked))
    expected = SIGNERS[0].sign_digest(asked.digest)
    assert (status, answer) == (200, SignerAnswer(address=SIGNERS[0].address, signature=expected))
    assert house.signed == 1


@pytest.mark.parametrize(
    ("key", "receiver", "age_ms"),
    [
        (b.key(99), "", 0),  # a stranger's key
        (RELAY, TRANSPORT[1].address, 0),  # meant for another signer
        (RELAY, "", 31_000),  # too old
        (RELAY, "", -31_000),  # from the future
    ],
)
async def test_sign__not_sealed_for_now_by_a_known_relay__nothing_is_signed(
    house: House, key: Key, receiver: str, age_ms: int
) -> None:
    body = wire.encode_proposal(proposal())
    time_ms = Wall().now - age_ms
    status, answer, _ = await ask(house, body, key=key, receiver=receiver, time_ms=time_ms)
    assert status == 401
    assert isinstance(answer, Refusal)
    assert answer.reason is RefusalReason.UNAUTHENTICATED
    assert (house.refused("unauthenticated"), house.signed) == (1, 0)


async def test_sign__sealed_before_the_signer_began__is_refused(
    database: Database, wall: Wall
) -> None:
    """After a restart the nonces are forgotten, so nothing from before it may count."""
    async with p.house(0, database, wall) as house:
        status, _, _ = await ask(house, wire.encode_proposal(proposal()), time_ms=wall.now - 1)
    assert (status, house.signed) == (401, 0)


async def test_sign__without_a_seal__is_refused(house: House) -> None:
    status, _, _ = await ask(house, wire.encode_proposal(proposal()), headers={})
    assert (status, house.refused("unauthenticated"), house.signed) == (401, 1, 0)


async def test_sign__body_changed_on_the_way__is_refused(house: House) -> None:
    body = wire.encode_proposal(proposal())
    seal = seal_request(RELAY, TRANSPORT[0].address, PATH, body, Wall().now)
    forged = wire.encode_proposal(b.renewed(proposal(), evidence_hash=b"\xdd" * 32))
    status, _, _ = await ask(house, forged, headers=seal.headers())
    assert (status, house.refused("unauthenticated"), house.signed) == (401, 1, 0)


async def test_sign__replayed_request__is_refused_the_second_time(house: House) -> None:
    body = wire.encode_proposal(proposal())
    _, first, headers = await ask(house, body)
    status, second, _ = await ask(house, body, headers=headers)
    assert isinstance(first, SignerAnswer)
    assert isinstance(second, Refusal)
    assert (status, second.reason) == (409, RefusalReason.REPLAYED)
    assert (house.refused("replayed"), house.signed) == (1, 1)


@pytest.mark.parametrize("declared", [True, False])
async def test_sign__oversized_body__is_refused_unread(house: House, declared: bool) -> None:
    body = b"{" + b" " * wire.MAX_BYTES

    async def pieces() -> AsyncIterator[bytes]:
        yield body

    seal = seal_request(RELAY, TRANSPORT[0].address, PATH, body, Wall().now)
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            house.url + PATH, data=body if declared else pieces(), headers=seal.headers()
        ) as response,
    ):
        assert response.status == 413
        assert json.loads(await response.read())["refused"]["reason"] == "oversized"
    assert (house.refused("oversized"), house.signed) == (1, 0)


def altered(**changes: object) -> bytes:
    given = json.loads(wire.encode_proposal(proposal()))
    return json.dumps({**given, **changes}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"[" * 30_000,
        b'{"digest":"0x' + b"11" * 32 + b'"}',
        altered(type="Digest"),
        altered(extra=1),
        altered(message={"round": 1}),
        altered(domain=None),
        wire.encode_proposal(b.price_proposal()).replace(b'"round":10', b'"round":true'),
        wire.encode_proposal(b.price_proposal()).replace(b'"round":10', b'"round":10.0'),
        wire.encode_proposal(b.price_proposal()).replace(b'"round":10', b'"round":-1'),
        wire.encode_proposal(b.price_proposal()).replace(b'"round":10', b'"round":10,"round":11'),
        wire.encode_proposal(b.price_proposal()).replace(b'"words":["0x', b'"words":["0x_'),
    ],
)
async def test_sign__no_message_of_ours__is_refused_with_a_reason(
    house: House, body: bytes
) -> None:
    status, answer, _ = await ask(house, body)
    assert isinstance(answer, Refusal)
    assert (status, answer.reason) == (400, RefusalReason.MALFORMED)
    assert (house.refused("malformed"), house.signed) == (1, 0)


@pytest.mark.parametrize(
    ("domain", "reason", "field"),
    [
        (
            Domain(chain_id=1, contract=b.PRICE_FEED, config_digest=b"\x0c" * 32),
            RefusalReason.WRONG_CHAIN,
            "chain_id",
        ),
        (
            Domain(chain_id=b.CHAIN_ID, contract=b.RISK_ORACLE, config_digest=b"\x0c" * 32),
            RefusalReason.WRONG_CONTRACT,
            "contract",
        ),
        (
            Domain(chain_id=b.CHAIN_ID, contract=b.PRICE_FEED, config_digest=b"\x0b" * 32),
            RefusalReason.WRONG_CONFIG,
            "config_digest",
        ),
    ],
)
async def test_sign__another_chain_contract_or_configuration__is_refused_and_counted(
    house: House, domain: Domain, reason: RefusalReason, field: str
) -> None:
    wrong = Proposal(message=b.price_round(), domain=domain)
    status, answer, _ = await ask(house, wire.encode_proposal(wrong))
    assert isinstance(answer, Refusal)
    assert (status, answer.reason, answer.field) == (200, reason, field)
    assert (house.refused(reason.value), house.signed) == (1, 0)


async def test_sign__another_message_for_a_signed_round__is_refused(house: House) -> None:
    await ask(house, wire.encode_proposal(proposal()))
    other = b.renewed(proposal(), evidence_hash=b"\xdd" * 32)
    _, answer, _ = await ask(house, wire.encode_proposal(other))
    assert isinstance(answer, Refusal)
    assert answer.reason is RefusalReason.SIGNED_ANOTHER
    assert (house.refused("signed_another"), house.signed) == (1, 1)


async def test_sign__faster_than_its_pace__is_refused_until_time_passes(
    database: Database, wall: Wall
) -> None:
    async with p.house(0, database, wall, pace=Pace(per_s=1.0, burst=2)) as house:
        body = wire.encode_proposal(proposal())
        statuses = [(await ask(house, body))[0] for _ in range(3)]
        wall.now += 1_000
        statuses.append((await ask(house, body, time_ms=wall.now))[0])
    assert statuses == [200, 200, 429, 200]
    assert house.refused("too_many") == 1


def reason_counts(metrics: Metrics, number: int, reason: str) -> float:
    return metrics.signer_refusals[p.NAMES[number], reason]._value.get()


async def test_quorum__two_of_five_dead_and_one_turned__two_sign(
    database: Database, wall: Wall
) -> None:
    """n − k dead and one Byzantine: 5 signers, 2 needed; one closed, one silent, one turned."""
    async with AsyncExitStack() as stack:
        turned = await stack.enter_async_context(p.liar(0, p.other_message))
        silent = await stack.enter_async_context(p.liar(2, p.never))
        sound = [await stack.enter_async_context(p.house(n, database, wall)) for n in (3, 4)]
        closed = p.peer_of(1, "http://127.0.0.1:1")
        peers = [turned, closed, silent, *(each.peer for each in sound)]
        context = p.quorum_of(peers, 2, wall, timeout_s=3.0)
        async with context as (quorum, metrics):
            signed = await quorum.collect(proposal())
        assert isinstance(signed, SignedMessage)
        assert set(signed.signers) == {SIGNERS[3].address, SIGNERS[4].address}
        assert reason_counts(metrics, 0, "bad_signature") == 1
        assert reason_counts(metrics, 1, "no_answer") == 1
        assert reason_counts(metrics, 2, "no_answer") == 1
        assert metrics.quorum_disagreements._value.get() >= 1


@pytest.mark.parametrize("lie", [p.endless, p.unsealed])
async def test_quorum__answer_that_is_not_the_signers__is_no_answer(
    database: Database, wall: Wall, lie: p.Lie
) -> None:
    async with (
        p.liar(0, lie) as lying,
        p.house(1, database, wall) as sound,
        p.quorum_of([lying, sound.peer], 2, wall) as (quorum, _),
    ):
        outcome = await quorum.collect(proposal())
    assert isinstance(outcome, NoQuorum)
    assert outcome.given == 1
    assert outcome.refusals["signer-0"].reason is RefusalReason.NO_ANSWER


async def test_quorum__answer_to_another_request__is_not_believed(
    database: Database, wall: Wall
) -> None:
    """A sealed answer is kept and shown again: its seal names the request it was for."""
    kept: list[aiohttp.web.Response] = []

    async def repeating(seal: p.Seal, body: bytes, key: Key) -> aiohttp.web.StreamResponse:
        asked = wire.decode_proposal(body)
        signature = SIGNERS[0].sign_digest(asked.digest)
        fresh = p.sealed(SignerAnswer(address=SIGNERS[0].address, signature=signature), seal, key)
        kept.append(fresh)
        old = kept[0]
        return aiohttp.web.Response(
            body=old.body, headers={ANSWER_HEADER: old.headers[ANSWER_HEADER]}
        )

    async with p.liar(0, repeating) as peer, p.quorum_of([peer], 1, wall) as (quorum, _):
        first = await quorum.collect(proposal())
        second = await quorum.collect(b.price_proposal(b.price_round(round_=11)))
    assert isinstance(first, SignedMessage)
    assert isinstance(second, NoQuorum)


async def test_quorum__first_answer_lost__the_second_asking_counts(
    database: Database, wall: Wall
) -> None:
    asked = 0

    async def lost_once(seal: p.Seal, body: bytes, key: Key) -> aiohttp.web.StreamResponse:
        nonlocal asked
        asked += 1
        if asked == 1:
            await asyncio.Event().wait()
        signature = SIGNERS[0].sign_digest(wire.decode_proposal(body).digest)
        return p.sealed(SignerAnswer(address=SIGNERS[0].address, signature=signature), seal, key)

    async with p.liar(0, lost_once) as peer, p.quorum_of([peer], 1, wall) as (quorum, _):
        outcome = await quorum.collect(proposal())
    assert isinstance(outcome, SignedMessage)
    assert asked == 2


async def test_quorum__signers_see_another_price__each_field_is_named(
    database: Database, wall: Wall
) -> None:
    async with p.house(0, database, wall) as house, p.house(1, database, wall) as other:
        marks = {
            m: replace(mark, price_e18=mark.price_e18 * 2)
            for m, mark in house.views.shown.marks.items()
        }
        house.views.shown = replace(house.views.shown, marks=marks)
        async with p.quorum_of([house.peer, other.peer], 2, wall) as (quorum, metrics):
            outcome = await quorum.collect(proposal())
    assert isinstance(outcome, NoQuorum)
    refusal = outcome.refusals["signer-0"]
    assert [o.field for o in refusal] == [f"price of market {m}" for m in range(4)]
    assert {o.reason for o in refusal} == {RefusalReason.OFF_OWN_MARK}
    assert metrics.quorum_disagreements._value.get() == 1
