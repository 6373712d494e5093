"""One started exchange of each protocol a test asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.relayer.market.exchanges.bybit import Bybit
from tests.relayer.market.exchanges.hyperliquid import Hyperliquid
from tests.relayer.market.exchanges.kraken import Kraken


@pytest.fixture
async def bybit() -> AsyncIterator[Bybit]:
    made = Bybit()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def kraken() -> AsyncIterator[Kraken]:
    made = Kraken()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def hyperliquid() -> AsyncIterator[Hyperliquid]:
    made = Hyperliquid()
    await made.start()
    yield made
    await made.stop()
