"""What traders, depositors and keepers ask of the margin contracts, by signature."""

from __future__ import annotations

from typing import Final

from relayer.chain.requests import REQUEST_TYPES
from relayer.chain.views import view

TERMS_TYPES: Final = (
    "(uint64,uint64,address,uint16,int8,uint8,uint8,uint128,uint32,uint32,uint32,uint32,uint64,"
    "bytes32,bytes32)"
)
"""IRiskOracle.PositionTerms, as the ABI names it."""

ACTION_TYPES: Final = "(uint64,uint64,uint256,uint64,uint8,uint32,uint128,uint128,bytes32,bytes32)"
"""IRiskOracle.PositionAction, as the ABI names it."""

MINT: Final = view("mint(address,uint256)")  # the test token's
APPROVE: Final = view("approve(address,uint256)")
REQUEST_DEPOSIT: Final = view("request_deposit(uint256,uint256)")
EXECUTE_DEPOSIT: Final = view("execute_deposit(uint256)")
DEPOSIT: Final = view("deposit(uint256)")
WITHDRAW: Final = view("withdraw(uint256)")
ADD_MARGIN: Final = view("add_margin(uint256,uint256,bool)")
REQUEST_OPEN: Final = view(f"request_open({TERMS_TYPES},bytes32[],uint256,uint256,uint256,uint256)")
REQUEST_CLOSE: Final = view("request_close(uint256,uint256,uint256,uint256)")
EXECUTE: Final = view(f"execute({REQUEST_TYPES})")
CANCEL: Final = view(f"cancel({REQUEST_TYPES})")
LIQUIDATE: Final = view("liquidate(address,uint256,uint256)")
ADJUST: Final = view(f"adjust({ACTION_TYPES},bytes32[])")
DELEVERAGE: Final = view(f"deleverage({ACTION_TYPES},bytes32[])")
LIQUIDATE_SIGNED: Final = view(f"liquidate_signed({ACTION_TYPES},bytes32[])")
DELEVERAGE_SIDE: Final = view("deleverage_side(uint256,bool)")
CATCH_UP: Final = view("catch_up(uint256)")
SETTLE: Final = view("settle(address,uint256,uint256)")

POSITION_FIELDS: Final = (
    "side",
    "size",
    "entry_price",
    "price",
    "leverage_e2",
    "managed",
    "collateral",
    "profit",
    "equity",
    "maintenance",
    "own_maintenance",
    "ratio_ppm",
    "ceiling_ppm",
    "version",
    "stamp_ms",
    "liquidatable",
    "settled",
)
POSITION_VIEW: Final = view(
    "position_view(address,uint256,uint256)",
    "(int256,uint256,int256,uint256,uint256,bool,uint256,int256,int256,uint256,uint256,uint256,"
    "uint256,uint256,uint256,bool,bool)",
)
ACCOUNT_FIELDS: Final = (
    "balance",
    "nonce",
    "promised",
    "equity",
    "opening_equity",
    "initial",
    "maintenance",
    "notional",
    "ready",
    "liquidatable",
    "withdrawable",
    "markets",
)
ACCOUNT_VIEW: Final = view(
    "account_view(address)",
    "(int256,uint256,uint256,int256,int256,uint256,uint256,uint256,bool,bool,uint256,uint256[])",
)
TOTALS_FIELDS: Final = (
    "credited",
    "pool",
    "insurance",
    "pending",
    "debts",
    "pots",
    "vault_tokens",
    "pool_tokens",
)
TOTALS_VIEW: Final = view(
    "totals()", "(uint256,uint256,uint256,uint256,uint256,int256,uint256,uint256)"
)
