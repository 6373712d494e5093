"""A world with traders, a daemon in this process, and three signer processes that judge for it."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from agent import app
from agent.config import load_settings
from agent.demo import margin_story
from agent.demo.margin_stage import USDC, Margin, refused_with
from agent.demo.stage import Stage
from agent.deploying import deploy_network
from agent.impact import Budget, CycleBudget, ImpactSettings
from agent.network import local_network, local_role
from agent.world import domain_of
from contracts.book_words import account_number, position_id
from contracts.margin import SizeE18
from contracts.messages import (
    ActionKind,
    Adjustment,
    MarginMode,
    PositionAction,
    PositionTerms,
    RiskUpdate,
    Side,
)
from contracts.packing import MarketParameters, pack_risk_word
from contracts.refusals import Refusal as Guard
from contracts.risk_oracle import MarketState, effective_maintenance_ppm
from contracts.units import (
    LeverageE2,
    Ppm,
    UnixMs,
    UnixS,
    UsdcE6,
    maintenance_from_cap,
)
from relayer.chain import margin_calls as calls
from relayer.chain.action_calls import action_payload
from relayer.chain.reads import ChainState, read_chain
from relayer.local import client
from relayer.market.jumps import JumpWatch
from relayer.signing.keys import Key
from relayer.signing.values import NoQuorum, Proposal, Signable, SignedMessage
from tests.agent.test_signer_processes import COUNT, House, configuration

HOUR_MS = 3_600_000
FROM_BALANCE = False  # not from the wallet
PLENTY = {"accounts": 10**6, "liquidatable": 10**6, "notional_usdc": 10**9}
NOBODY = """
[impact]
near_ppm = 250_000
[impact.market]
accounts = 0
liquidatable = 0
"""
HASHES = (b"\xab" * 32, b"\xee" * 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Court:
    """Everything at hand: traders' side, the signers' processes, and what they count."""

    stage: Stage
    house: House

    @property
    def margin(self) -> Margin:
        return Margin(stage=self.stage)

    async def chain(self) -> ChainState:
        return await read_chain(self.stage.daemon.endpoint, self.stage.daemon.deployment)

    async def proposal(self, message: Signable) -> Proposal:
        state = await self.chain()
        oracle = self.stage.daemon.deployment.risk_oracle
        return Proposal(
            message=message, domain=domain_of(state.chain_id, oracle, state.oracle.config)
        )

    async def asked(self, message: Signable) -> SignedMessage | NoQuorum:
        """Put a message before the signers' processes, as the daemon does."""
        return await self.stage.daemon.hands.quorum.collect(await self.proposal(message))

    async def refused(self, message: Signable) -> set[tuple[str, str]]:
        """Have a message refused by every signer that answers; say for what."""
        before = self.signatures()
        answer = await self.asked(message)
        assert isinstance(answer, NoQuorum), "it was signed"
        assert answer.given == 0
        assert self.signatures() == before, "a signature was given"
        every = (each for refusal in answer.refusals.values() for each in refusal)
        return {(each.reason.value, each.field) for each in every}

    async def signed(self, message: Signable) -> SignedMessage:
        answer = await self.asked(message)
        assert isinstance(answer, SignedMessage), answer
        return answer

    async def signed_by(self, message: Signable, keys: tuple[Key, ...]) -> SignedMessage:
        """Sign with keys of the test's own choice, past every check."""
        proposal = await self.proposal(message)
        ascending = sorted(keys, key=lambda key: int(key.address, 16))
        return SignedMessage(
            message=message,
            domain=proposal.domain,
            message_hash=proposal.digest,
            signatures=tuple(key.sign_digest(proposal.digest) for key in ascending),
            signers=tuple(key.address for key in ascending),
            refusals={},
        )

    async def contract_says(self, signed: SignedMessage) -> Guard | None:
        """Bring a signed action to the liquidator; None: it was carried out."""
        assert isinstance(signed.message, PositionAction)
        payload = action_payload(signed.message, signed.signatures)
        keeper = self.margin.wallet("keeper")
        return await refused_with(keeper.post(self.margin.at.liquidator, payload))

    async def later(self, ms: int = 31_000) -> None:
        """Let time pass, a price's heartbeat at least, and post the price of then."""
        await self.stage.pass_to(await self.stage.now_ms() + ms)
        await self.stage.tick()

    async def open(self, role: str, side: Side, adjustment: Adjustment, notional: int) -> None:
        """Open BTC at the cap; its owner accepts a ceiling of all that the leverage bears."""
        state, now_ms = await self.chain(), await self.stage.now_ms()
        market = self.margin.market("BTC")
        cap_e2 = state.oracle.markets[market].values.cap_e2
        leverage_e2 = LeverageE2(cap_e2 - 10)
        floor = state.oracle.bounds[state.oracle.markets[market].class_id].floor_maintenance_ppm
        terms = PositionTerms(
            observed_at_ms=UnixMs(now_ms),
            valid_until_ms=UnixMs(now_ms + 200_000),
            account=self.margin.wallet(role).address,
            market=market,
            side=side,
            margin_mode=MarginMode.ISOLATED,
            adjustment=adjustment,
            max_notional_e6=UsdcE6(2 * notional * USDC),
            max_leverage_e2=cap_e2,
            maintenance_ppm=max(maintenance_from_cap(cap_e2), Ppm(floor)),
            maintenance_ceiling_ppm=Ppm(100 * 10**6 // leverage_e2),
            risk_score_ppm=Ppm(500_000),
            nonce=now_ms,
            model_hash=HASHES[0],
            evidence_hash=HASHES[1],
        )
        size = SizeE18(notional * USDC * 10**30 // await self.margin.price("BTC"))
        bring = notional * USDC * 102 // leverage_e2  # price, spread and fee of later
        await self.margin.deposit(role, bring * 2)
        await self.margin.request_open(role, await self.signed(terms), size, bring, leverage_e2)
        assert await self.margin.execute_waiting() == 1

    async def until_short(self, roles: tuple[str, ...], of: str) -> str:
        """Let minutes pass until a margin is short, of maintenance or at the ceiling."""
        for minute in range(1, 121):
            for role in roles:
                held = await self.margin.position(role, "BTC", MarginMode.ISOLATED)
                notional = held["size"] * held["price"] // 10**30
                needed = notional * held[of] // 10**6
                if held["equity"] < needed * 9_995 // 10_000:
                    return role
            await self.later(50_000)
            if minute % 10 == 0:
                await self.stage.cycle()
        raise AssertionError(f"two hours, and nobody of {roles} is short")

    async def action(self, role: str, kind: ActionKind, **changes: object) -> PositionAction:
        """Write an action on somebody's position as it stands now."""
        held = await self.margin.position(role, "BTC", MarginMode.ISOLATED)
        account = account_number(self.margin.wallet(role).address)
        now_ms = await self.stage.now_ms()
        made = PositionAction(
            observed_at_ms=UnixMs(now_ms),
            valid_until_ms=UnixMs(now_ms + 120_000),
            position_id=position_id(account, self.margin.market("BTC"), int(MarginMode.ISOLATED)),
            position_version=held["version"],
            kind=kind,
            maintenance_ppm=Ppm(0),
            max_size_e18=SizeE18(0 if kind is ActionKind.ADJUST else held["size"]),
            price_bound_e18=0,
            model_hash=HASHES[0],
            evidence_hash=HASHES[1],
        )
        return replace(made, **changes)  # type: ignore[arg-type]

    async def tightening(self, share: float) -> RiskUpdate:
        """Write an update that cuts BTC's cap, and so ramps open positions' ratio up."""
        state, now_ms = await self.chain(), await self.stage.now_ms()
        market = self.margin.market("BTC")
        word = pack_risk_word(cut(state.oracle.markets[market], market, share))
        return RiskUpdate(
            round=state.oracle.latest_round + 1,
            observed_at_ms=UnixMs(now_ms),
            valid_until_ms=UnixMs(now_ms + 600_000),
            model_hash=HASHES[0],
            evidence_hash=HASHES[1],
            words=(word,),
        )

    async def again(self, update: RiskUpdate) -> RiskUpdate:
        """Write the same item as an update of now, in a round that nobody signed."""
        state, now_ms = await self.chain(), UnixMs(await self.stage.now_ms())
        return replace(
            update,
            round=max(state.oracle.latest_round, update.round) + 1,
            observed_at_ms=now_ms,
            valid_until_ms=UnixMs(now_ms + 600_000),
        )

    async def ratio_ppm(self) -> int:
        """What BTC's oracle asks of open positions now."""
        state = (await self.chain()).oracle
        market, now_s = state.markets[self.margin.market("BTC")], await self.stage.now_ms() // 1_000
        return effective_maintenance_ppm(market, UnixS(now_s), state.controls)

    async def add_margin(self, role: str, amount: int) -> None:
        wallet = await self.margin.deposit(role, amount * USDC)
        values = (self.margin.market("BTC"), amount * USDC, FROM_BALANCE)
        await wallet.tell(self.margin.at.engine, calls.ADD_MARGIN, *values)

    def signatures(self) -> list[float]:
        """How many risk signatures each process has given, by its own metrics."""
        return [self.counted(n, f'aml_signatures_total{{signer="risk-{n}"}}') for n in (1, 2, 3)]

    def counted(self, number: int, name: str) -> float:
        url = re.findall(r"metrics at (\S+)", self.house.said(number))[-1]
        with urllib.request.urlopen(url, timeout=30) as answer:
            page = answer.read().decode()
        found = re.search(rf"^{re.escape(name)} (\S+)$", page, re.MULTILINE)
        assert found is not None, name
        return float(found[1])


def cut(state: MarketState, market: int, share: float) -> MarketParameters:
    values = state.values
    cap_e2 = LeverageE2(round(values.cap_e2 * share))
    return MarketParameters(
        market=market,  # type: ignore[arg-type]
        cap_e2=cap_e2,
        maintenance_ppm=maintenance_from_cap(cap_e2),
        open_interest_cap_usdc=values.open_interest_cap_usdc,
        size_scale_usdc=values.size_scale_usdc,
        spread_ppm=values.spread_ppm,
        reduce_only=False,
        ramp_s=0,
    )


@asynccontextmanager
async def court(folder: Path, signers: int = COUNT) -> AsyncIterator[Court]:
    """Build it: signers let nobody be brought near, the daemon here anybody."""
    world = client.start(folder, speed=1.0)
    house = House(state=folder, config=folder / "signers.toml")
    text = configuration(signers).replace(
        'mode = "required"\nwait_s = 50.0', 'mode = "off"\nwait_s = 30'
    )
    house.config.write_text(text.replace("\n[signers]", NOBODY + "\n[signers]"))
    settings = load_settings(str(house.config))
    generous = ImpactSettings(market=Budget(**PLENTY), cycle=CycleBudget(**PLENTY))
    metrics = settings.metrics.model_copy(update={"port": 0})
    settings = settings.model_copy(update={"impact": generous, "metrics": metrics, "http": None})
    network = local_network(world, folder)
    try:
        await deploy_network(network, settings, lambda _: None)
        for number in range(1, signers + 1):
            house.start_signer(number)
        house.wait_until_signers_listen()
        async with app.daemon(network, settings, app.load_model(settings)) as running:
            seen = [JumpWatch(rules=settings.jumps)]
            stage = Stage(world=world, daemon=running, settings=settings, say=print, seen=seen)
            await _filled(stage)
            yield Court(stage=stage, house=house)
    finally:
        for process in house.running.values():
            process.kill()
            process.wait()
        client.stop(folder)


async def _filled(stage: Stage) -> None:
    """Let prices, parameters and a pool with money be there."""
    await stage.tick()
    await stage.keep()
    await stage.cycle()
    await margin_story.pool_requested(stage)
    await stage.pass_to(await stage.now_ms() + HOUR_MS + 10_000)
    await stage.tick()
    await stage.tick()
    await stage.cycle()
    await margin_story.pool_entered(stage)


def risk_keys(*numbers: int) -> tuple[Key, ...]:
    """The registered risk signers' own keys, for what no honest signer would sign."""
    return tuple(local_role(f"risk-signer-{number}") for number in numbers)
