"""Somebody with USDC and no key of ours, who has the reference and the description of HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from tests.operations.drills.server import until
from tests.operations.followed.ground import DEADLINE_S, Ground, encoded

USDC = 10**6
TERMS = (
    "(uint64,uint64,address,uint16,int8,uint8,uint8,uint128,uint32,uint32,uint32,uint32,uint64,"
    "bytes32,bytes32)"
)
ISOLATED, POOL = 1, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Contracts:
    """What `deployment.json` says."""

    feed: str
    token: str
    vault: str
    pool: str
    engine: str
    desk: str

    @classmethod
    def of(cls, ground: Ground, state: str = "daemon") -> Contracts:
        """Read it where `aml deploy` wrote it."""
        told = json.loads((ground.folder / state / "deployment.json").read_text())
        names = ("token", "vault", "pool", "engine", "desk")
        return cls(feed=told["price_feed"], **{name: told["margin"][name] for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class Trader:
    """An address; what it sends, the node signs for it."""

    ground: Ground
    at: Contracts
    address: str

    def tell(self, to: str, signature: str, *values: Any) -> dict[str, Any]:
        """Send a call that must succeed."""
        receipt = self.ground.send(self.address, to, encoded(signature, values))
        assert receipt["status"] == "0x1", (signature, values)
        return receipt

    def has(self, usdc: int, spender: str) -> None:
        """Come to USDC, and let a contract take it."""
        self.tell(self.at.token, "mint(address,uint256)", self.address, usdc * USDC)
        self.tell(self.at.token, "approve(address,uint256)", spender, usdc * USDC)

    @property
    def wallet(self) -> int:
        """USDC x 10^6 outside of the contracts."""
        return int(self.ground.call(self.at.token, "balanceOf(address)", self.address))

    def asks(self, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Ask the interface; give the status and what it says."""
        url = f"http://127.0.0.1:{self.ground.ports['http']}{path}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as fault:
            return fault.code, json.load(fault)

    def quote(self, market: str, side: str, size_e18: int) -> tuple[int, dict[str, Any]]:
        """Ask for terms with isolated margin at three times."""
        wish = {"account": self.address, "market": market, "side": side, "mode": "isolated"}
        return self.asks("/quote", wish | {"size_e18": str(size_e18), "leverage_e2": 300})

    def opens(self, market: str, side: str, size_e18: int) -> None:
        """Take terms to the desk as they came, and wait until a keeper has executed them."""
        status, quote = self.quote(market, side, size_e18)
        assert status == 200, quote
        terms = tuple(value(name, each) for name, each in quote["terms"].items())
        words = [
            bytes.fromhex(each[start : start + 64])
            for each in quote["signatures"]
            for start in (2, 66)
        ]
        asked = quote["wanted"]
        self.tell(
            self.at.desk,
            f"request_open({TERMS},bytes32[],uint256,uint256,uint256,uint256)",
            *(terms, words, int(asked["size_e18"]), int(asked["margin_e6"])),
            *(asked["leverage_e2"], int(quote["acceptable_price_e18"])),
        )
        until(lambda: market in self.positions(), f"a position in {market}", DEADLINE_S)

    def closes(self, market: str, number: int) -> None:
        """Ask for the whole close at any price, and wait for the keeper."""
        size = int(self.positions()[market]["size_e18"])
        signature = "request_close(uint256,uint256,uint256,uint256)"
        self.tell(self.at.desk, signature, number, ISOLATED, size, 0)
        until(lambda: market not in self.positions(), f"no position in {market}", DEADLINE_S)

    def positions(self) -> dict[str, Any]:
        """Look the account up, by market."""
        status, account = self.asks(f"/accounts/{self.address}")
        assert status in {200, 503, 504}, account
        return {each["market"]: each for each in account.get("positions", ())}

    def leaves(self) -> int:
        """Withdraw the whole balance; give what is in the wallet then."""
        signature, words = "account(address)", "(uint256,int256)"
        _, balance = self.ground.call(self.at.engine, signature, self.address, gives=words)
        self.tell(self.at.engine, "withdraw(uint256)", balance)
        return self.wallet


def value(name: str, given: Any) -> Any:
    """Read one field of the terms as the contract takes it."""
    if name.endswith("_hash"):
        return bytes.fromhex(given[2:])
    return given if name == "account" else int(given)
