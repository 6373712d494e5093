"""A decision's evidence in words: what changed, by what, and what moved since the one before."""

from __future__ import annotations

from agent.judge import Rules, judge
from agent.proof.explain import explain_price, explain_risk
from agent.proof.record import encode_judgement
from agent.proof.verify import plain
from agent.snapshot import snapshot_of
from contracts.refusals import Refusal
from tests.agent import builders
from tests.agent.builders import NOW_MS, live, state

SYMBOLS = {0: "BTC", 1: "ETH"}


class Known:
    """A model that knows one tail."""

    def __init__(self, tail: float) -> None:
        self.tail = tail

    def score(self, vectors, factors=None):
        return tuple(builders.scores(each.market, tail=self.tail) for each in vectors)


def fields(tail: float) -> dict:
    rules = Rules(policy=builders.policy())
    judgement = judge(snapshot_of(builders.observation()), Known(tail), rules)
    return plain(encode_judgement(judgement)) | {"as_of_ms": NOW_MS}


def test_explain__tightened_market__says_from_what_to_what() -> None:
    told = explain_risk(fields(0.08), fields(0.02), {0: state()}, SYMBOLS, {})
    btc = told[0]
    assert btc.symbol == "BTC"
    assert btc.headline.startswith("tightened: cap 19.00x to ")
    assert any("cap" in each and "set by" in each for each in btc.because)
    assert any("tail of a long over 15 min rose by 300%" in each for each in btc.because)


def test_explain__nothing_moved__says_so() -> None:
    told = explain_risk(fields(0.02), fields(0.02), {}, SYMBOLS, {})
    assert any("no feature moved" in each for each in told[0].because)
    assert not any(
        "since the decision before" in each and "rose" in each for each in told[0].because
    )


def test_explain__held_market__gives_the_reason() -> None:
    told = explain_risk(fields(3.0), None, {}, SYMBOLS, {})
    assert all(each.headline.startswith("nothing was done: no feasible cap") for each in told)


def test_explain__item_that_the_contract_left_out__says_why() -> None:
    told = explain_risk(
        fields(0.02), None, {0: state(values=live())}, SYMBOLS, {0: Refusal.TOO_SOON}
    )
    assert "the contract left it out" in told[0].headline


def test_explain__price_round__names_venues_and_trigger() -> None:
    mark = {"price_e18": str(10**20), "venues": ["a", "b"], "excluded": ["c"]}
    (told,) = explain_price({"marks": {"0": mark}, "triggers": {"0": "deviation"}}, SYMBOLS)
    assert told.headline == "a price of 100"
    assert told.because[0] == "it was due: deviation"
    assert told.because[2] == "left out: c"
