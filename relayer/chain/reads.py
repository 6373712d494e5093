"""Both contracts as they stand at one block, in two round trips, decoded with their mirrors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from contracts import price_feed, risk_oracle
from contracts.envelope import Configuration
from contracts.halts import decode_controls, decode_guard
from contracts.price_feed import FeedState
from contracts.risk_bounds import decode_bounds
from contracts.risk_oracle import OracleState
from relayer.chain import rpc, views
from relayer.chain.endpoints import ChainEndpoint, block_call
from relayer.chain.rpc import BlockStamp
from relayer.chain.values import Deployment
from relayer.chain.views import View
from relayer.errors import BadAnswer, ChainMoved

PAGE: Final = 256  # slots that one call may ask for (DynArray bound in both contracts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainState:
    """Everything a decision depends on that the chain knows, at one block."""

    chain_id: int
    block_number: int
    block_hash: bytes
    timestamp_s: int
    feed: FeedState
    oracle: OracleState


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedReading:
    """The price feed alone, at one block: all that the price loop asks."""

    block: BlockStamp
    feed: FeedState


class Question(NamedTuple):
    """One view to ask, and under which name its answer is kept."""

    name: str
    view: View
    contract: str
    arguments: tuple[int | str, ...] = ()


Answers = dict[str, Any]
Known = tuple[int, bytes]
"""A block's number and hash."""


async def read_chain(
    endpoint: ChainEndpoint, deployment: Deployment, block: str | int | Known = "latest"
) -> ChainState:
    """Read both contracts at one block; in one round trip where its hash is known, too.

    Raises
    ------
    ChainMoved
        The block was replaced between the two round trips, or is not the known one: ask again.
    """
    if isinstance(block, str | int):
        stamp = await endpoint.block(block)
        block = (stamp.number, stamp.block_hash)
    questions = (*_feed_questions(deployment), *_oracle_questions(deployment))
    stamp, answers = await ask_at(endpoint, block, questions)
    return ChainState(
        chain_id=endpoint.chain_id,
        block_number=stamp.number,
        block_hash=stamp.block_hash,
        timestamp_s=stamp.timestamp_s,
        feed=await _feed(endpoint, deployment, stamp, answers),
        oracle=await _oracle(endpoint, deployment, stamp, answers),
    )


async def read_feed(
    endpoint: ChainEndpoint, deployment: Deployment, block: str | int = "latest"
) -> FeedReading:
    """Read the price feed at one block."""
    stamp = await endpoint.block(block)
    answers = await ask(endpoint, stamp, _feed_questions(deployment))
    return FeedReading(block=stamp, feed=await _feed(endpoint, deployment, stamp, answers))


async def ask(endpoint: ChainEndpoint, stamp: BlockStamp, questions: Sequence[Question]) -> Answers:
    """Ask views at a block, all in one round trip, and make sure that it is still that block."""
    _, answers = await ask_at(endpoint, (stamp.number, stamp.block_hash), questions)
    return answers


async def ask_at(
    endpoint: ChainEndpoint, block: Known, questions: Sequence[Question]
) -> tuple[BlockStamp, Answers]:
    """Ask views at a block that is known by its hash; give its stamp beside the answers."""
    number, block_hash = block
    calls = [q.view.call(q.contract, number, *q.arguments) for q in questions]
    header, *answers = await endpoint.batch([block_call(number), *calls])
    stamp = rpc.block_stamp(header)
    if stamp.block_hash != block_hash:
        raise ChainMoved(f"block {number} at {endpoint.name} is not the one that is read")
    read = {q.name: q.view.read(answer) for q, answer in zip(questions, answers, strict=True)}
    return stamp, read


def _envelope_questions(prefix: str, contract: str) -> list[Question]:
    asked = {
        "config_digest": views.CONFIG_DIGEST,
        "config_count": views.CONFIG_COUNT,
        "threshold": views.THRESHOLD,
        "signers": views.SIGNERS,
        "latest_round": views.LATEST_ROUND,
        "market_count": views.MARKET_COUNT,
    }
    return [Question(f"{prefix}.{name}", view, contract) for name, view in asked.items()]


def _pages(name: str, view: View, contract: str, slots: range) -> list[Question]:
    return [
        Question(f"{name}.{first}", view, contract, (first, min(PAGE, slots.stop - first)))
        for first in range(slots.start, slots.stop, PAGE)
    ]


def _class_questions(name: str, view: View, contract: str, classes: set[int]) -> list[Question]:
    return [Question(f"{name}.{item}", view, contract, (item,)) for item in sorted(classes)]


def _feed_questions(deployment: Deployment) -> list[Question]:
    contract = deployment.price_feed
    slots = range((len(deployment.markets) + 1) // 2)
    return [
        *_envelope_questions("feed", contract),
        *_pages("feed.slots", views.SLOTS, contract, slots),
        *_class_questions("feed.rules", views.RULES, contract, _classes(deployment)),
    ]


def _oracle_questions(deployment: Deployment) -> list[Question]:
    contract, markets = deployment.risk_oracle, range(len(deployment.markets))
    return [
        *_envelope_questions("oracle", contract),
        Question("oracle.controls", views.CONTROLS, contract),
        *_pages("oracle.slots", views.SLOTS, contract, markets),
        *_pages("oracle.guards", views.GUARDS, contract, markets),
        *_class_questions("oracle.bounds", views.BOUNDS, contract, _classes(deployment)),
    ]


def _classes(deployment: Deployment) -> set[int]:
    return {market.class_id for market in deployment.markets}


def _configuration(prefix: str, answers: Answers) -> Configuration:
    return Configuration(
        config_digest=answers[f"{prefix}.config_digest"],
        config_count=answers[f"{prefix}.config_count"],
        threshold=answers[f"{prefix}.threshold"],
        signers=answers[f"{prefix}.signers"],
    )


def _paged(name: str, answers: Answers) -> list[int]:
    prefix = f"{name}."
    pages = sorted((int(key[len(prefix) :]), key) for key in answers if key.startswith(prefix))
    return [word for _, key in pages for word in answers[key]]


async def _feed(
    endpoint: ChainEndpoint, deployment: Deployment, stamp: BlockStamp, answers: Answers
) -> FeedState:
    contract, count = deployment.price_feed, answers["feed.market_count"]
    # Markets added since the deployment file was written: the chain knows, the file does not yet.
    known = (len(deployment.markets) + 1) // 2
    late = _pages("feed.slots", views.SLOTS, contract, range(known, (count + 1) // 2))
    answers = answers | (await ask(endpoint, stamp, late) if late else {})
    markets = _checked(price_feed.decode_markets, _paged("feed.slots", answers), count)
    classes = {market.class_id for market in markets} - _classes(deployment)
    asked = _class_questions("feed.rules", views.RULES, contract, classes)
    answers = answers | (await ask(endpoint, stamp, asked) if asked else {})
    return FeedState(
        config=_configuration("feed", answers),
        latest_round=answers["feed.latest_round"],
        rules={m.class_id: _rules(answers, m.class_id) for m in markets},
        markets=markets,
    )


async def _oracle(
    endpoint: ChainEndpoint, deployment: Deployment, stamp: BlockStamp, answers: Answers
) -> OracleState:
    contract, count = deployment.risk_oracle, answers["oracle.market_count"]
    late = range(len(deployment.markets), count)
    more = _pages("oracle.slots", views.SLOTS, contract, late)
    more += _pages("oracle.guards", views.GUARDS, contract, late)
    answers = answers | (await ask(endpoint, stamp, more) if more else {})
    markets = _checked(_decode_risk_slots, _paged("oracle.slots", answers), count)
    classes = {market.class_id for market in markets} - _classes(deployment)
    asked = _class_questions("oracle.bounds", views.BOUNDS, contract, classes)
    answers = answers | (await ask(endpoint, stamp, asked) if asked else {})
    return OracleState(
        config=_configuration("oracle", answers),
        latest_round=answers["oracle.latest_round"],
        bounds={m.class_id: decode_bounds(answers[f"oracle.bounds.{m.class_id}"]) for m in markets},
        markets=markets,
        guards=tuple(decode_guard(word) for word in _paged("oracle.guards", answers)[:count]),
        controls=decode_controls(*answers["oracle.controls"]),
    )


def _rules(answers: Answers, class_id: int) -> price_feed.ClassRules:
    return price_feed.decode_rules(answers[f"feed.rules.{class_id}"])


def _decode_risk_slots(slots: Sequence[int], count: int) -> tuple[risk_oracle.MarketState, ...]:
    states = tuple(risk_oracle.decode_slot(word) for word in slots[:count])
    markets = tuple(state for state in states if state is not None)
    if len(markets) != count:
        raise ValueError(f"{len(markets)} markets in the slots, {count} in the contract")
    return markets


def _checked(decode: Any, slots: Sequence[int], count: int) -> Any:  # noqa: ANN401
    try:
        return decode(slots, count)
    except ValueError as exc:
        raise BadAnswer(f"slots do not decode: {exc}") from exc
