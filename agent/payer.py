"""Watches the account that pays gas: what is left, how long it lasts, and who must be told."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import AsyncExitStack

import structlog

from agent.config import PayerSettings
from agent.ground import Ground
from relayer.delivery.nonces import AccountReader
from relayer.delivery.runway import WEI_PER_ETHER, Runway, RunwayMetrics
from relayer.errors import RelayerError
from relayer.metrics import Metrics

DAY_S = 86_400.0


class PayerWatch:
    """Looks at the balance, shows it, and warns once each time that it runs short."""

    def __init__(
        self, chain: AccountReader, address: str, settings: PayerSettings, metrics: Metrics
    ) -> None:
        self._chain = chain
        self._address = address
        self._settings = settings
        self._balance = metrics.sender_balance_ether
        self._shown = RunwayMetrics(metrics.registry)
        self._runway = Runway()
        self._short = False

    def retune(self, settings: PayerSettings) -> None:
        """Warn by other limits from the next look on."""
        self._settings = settings

    async def run(self) -> None:
        """Look again and again; an endpoint that does not answer is asked next time."""
        while True:
            try:
                await self.look(time.monotonic())
            except RelayerError as fault:
                structlog.get_logger("aml").info("balance_not_read", detail=str(fault))
            await asyncio.sleep(self._settings.every_s)

    async def look(self, at_s: float) -> None:
        """Look once."""
        balance_wei = (await self._chain.account(self._address)).balance_wei
        lasts_s = self._runway.see(at_s, balance_wei)
        self._balance.set(balance_wei / WEI_PER_ETHER)
        self._shown.seconds.set(math.nan if lasts_s is None else lasts_s)
        ether = balance_wei / WEI_PER_ETHER
        short = ether < self._settings.warn_ether or (
            lasts_s is not None and lasts_s < self._settings.warn_days * DAY_S
        )
        if short and not self._short:
            structlog.get_logger("aml").warning(
                "gas_runs_short",
                address=self._address,
                ether=round(ether, 9),
                days=None if lasts_s is None else round(lasts_s / DAY_S, 2),
            )
        self._short = short


def watch_payer(ground: Ground, stack: AsyncExitStack) -> PayerWatch | None:
    """Watch for as long as the daemon runs, leading or not; a dry run has nobody to pay."""
    payer = ground.network.keys.gas_payer
    if payer is None:
        return None
    settings = ground.settings.payer
    watch = PayerWatch(ground.endpoint, payer.address, settings, ground.metrics)
    task = asyncio.create_task(watch.run())
    stack.push_async_callback(_ended, task)
    return watch


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
