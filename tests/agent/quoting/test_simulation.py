"""A hypothetical book along hypothetical prices: the law's own sums at each step."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.quoting.simulation import Supposed, simulate
from contracts.margin import is_liquidatable, maintenance_margin, unrealised_pnl
from contracts.margin_account import account_margin
from tests.contracts.margins import e18, usd


def supposed(**changes) -> Supposed:
    plain = {
        "market": 0,
        "is_cross": False,
        "side": 1,
        "size": e18(10),
        "entry_price": e18(100),
        "leverage_e2": 500,
        "maintenance_ppm": 20_000,
        "profit_share_ppm": 500_000,
        "collateral": usd(200),
    }
    return Supposed(**plain | changes)


def test_simulate__isolated_long__dies_where_its_liquidation_price_is() -> None:
    (now,) = simulate(0, [supposed()], [{0: e18(100)}])
    fatal = now.moments[0].liquidation_price
    assert fatal is not None
    path = [{0: fatal + 10**12}, {0: fatal}]
    above, at = simulate(0, [supposed()], path)
    assert not above.liquidatable
    assert at.liquidatable


def test_simulate__isolated_loss__reaches_nobody_else() -> None:
    book = [supposed(), supposed(market=1, is_cross=True, collateral=0)]
    calm, crash = simulate(usd(500), book, [{0: e18(100), 1: e18(100)}, {0: e18(1), 1: e18(100)}])
    assert crash.account == calm.account
    assert crash.moments[0].liquidatable
    assert not crash.moments[1].liquidatable


@settings(max_examples=60, deadline=None)
@given(
    first=st.integers(e18(1), e18(300)),
    second=st.integers(e18(1), e18(300)),
    balance=st.integers(-usd(100), usd(5_000)),
)
def test_simulate__cross_account__is_judged_as_one(first: int, second: int, balance: int) -> None:
    book = [
        supposed(is_cross=True, collateral=0),
        supposed(is_cross=True, collateral=0, market=1, side=-1),
    ]
    prices = {0: first, 1: second}
    (step,) = simulate(balance, book, [prices])
    assert step.account == account_margin(balance, [each.at(prices[each.market]) for each in book])
    expected = is_liquidatable(step.account.equity, step.account.maintenance)
    assert [each.liquidatable for each in step.moments] == [expected, expected]
    for moment in step.moments:
        assert moment.equity == step.account.equity


@given(price=st.integers(e18(1), e18(300)), side=st.sampled_from([1, -1]))
def test_simulate__isolated__is_the_law_s_own_arithmetic(price: int, side: int) -> None:
    held = supposed(side=side)
    (step,) = simulate(0, [held], [{0: price}])
    (moment,) = step.moments
    assert moment.profit == unrealised_pnl(side, held.size, held.entry_price, price)
    assert moment.equity == held.collateral + moment.profit
    assert moment.maintenance == maintenance_margin(held.size, price, held.maintenance_ppm)
