"""An agent that answers at once, with values that the real one could give."""

from __future__ import annotations

from collections.abc import AsyncIterator

from relayer.errors import Unreachable
from relayer.http import schemas
from relayer.http.port import NotGiven

HASH = "0x" + "ab" * 32
FIGURES = schemas.Figures(
    size_e18="1",
    leverage_e2=500,
    notional_e6="1",
    margin_e6="1",
    deposit_needed_e6="0",
    price_paid_e18="1",
    costs=schemas.Costs(spread_e6="1", impact_e6="0", fee_e6="1"),
    position_size_e18="1",
    liquidation_price_e18=None,
    chances=(schemas.Chance(horizon_s=3_600, probability=0.1),),
    chance_method="reflection",
    risk_score_ppm=1,
    reasons=("because",),
)


def answer(asked: schemas.QuoteRequest) -> schemas.QuoteAnswer:
    return schemas.QuoteAnswer(
        market=asked.market,
        price_e18="1",
        cap_e2=1_000,
        account_cap_e2=1_000,
        size_cap_e2=1_000,
        maintenance_ppm=50_000,
        maintenance_ceiling_ppm=80_000,
        acceptable_price_e18="1",
        execution_fee_e6="1",
        wanted=FIGURES,
        alternatives={},
        terms=schemas.TermsBody(
            observed_at_ms=1,
            valid_until_ms=2,
            account=asked.account,
            market=0,
            side=1,
            margin_mode=1,
            adjustment=2,
            max_notional_e6="1",
            max_leverage_e2=1_000,
            maintenance_ppm=50_000,
            maintenance_ceiling_ppm=80_000,
            risk_score_ppm=1,
            nonce=1,
            model_hash=HASH,
            evidence_hash=HASH,
        ),
    )


class FakeAgent:
    """Answers; `down` makes every answer a fault of the chain."""

    def __init__(self) -> None:
        self.down = False
        self.asked: list[object] = []

    def _note(self, asked: object) -> None:
        self.asked.append(asked)
        if self.down:
            raise Unreachable("10.0.0.7 does not answer")

    async def markets(self) -> schemas.Markets:
        self._note("markets")
        return schemas.Markets(block_number=1, at_ms=1, markets=())

    async def limits(self) -> schemas.Limits:
        return schemas.Limits(block_number=1, at_ms=1, decisions={}, paused_until_s={}, markets=())

    async def quote(self, asked: schemas.QuoteRequest) -> schemas.QuoteAnswer | NotGiven:
        self._note(asked)
        if asked.leverage_e2 > 1_000:
            passes = schemas.Passes(leverage_e2=1_000)
            return NotGiven(reason="above_cap", field="leverage", detail="too much", passes=passes)
        return answer(asked)

    async def simulate(self, asked: schemas.SimulateRequest) -> schemas.SimulateAnswer | NotGiven:
        self._note(asked)
        return schemas.SimulateAnswer(steps=(), first_liquidation_step=None)

    async def account(self, address: str) -> schemas.AccountAnswer | NotGiven:
        self._note(address)
        return schemas.AccountAnswer(
            account=address,
            block_number=1,
            at_ms=1,
            balance_e6="-5",
            equity_e6="0",
            opening_equity_e6="0",
            initial_e6="0",
            maintenance_e6="0",
            liquidatable=False,
            positions=(),
            profile=schemas.RiskProfile(
                judged=False, has_history=False, risk=None, cap_share_ppm=750_000, words="prior"
            ),
        )

    async def warnings(self, account: str | None, limit: int) -> schemas.Warnings:
        self._note((account, limit))
        return schemas.Warnings(warnings=())

    async def warned(self) -> AsyncIterator[schemas.WarningRow]:
        for number in (1, 2):
            yield schemas.WarningRow(
                sequence=number,
                at_ms=1,
                account="0x" + "aa" * 20,
                market="BTC",
                mode="isolated",
                level="near",
                words="add margin",
            )

    async def decisions(self, limit: int) -> schemas.Decisions:
        self._note(limit)
        return schemas.Decisions(decisions=())

    async def evidence(self, digest: bytes) -> bytes | None:
        return b'{"digests":{},"fields":{}}' if digest == bytes.fromhex(HASH[2:]) else None

    async def alive(self) -> schemas.Health:
        return schemas.Health(ok=not self.down)

    async def ready(self) -> schemas.Health:
        return schemas.Health(ok=not self.down, faults=("stale",) if self.down else ())
