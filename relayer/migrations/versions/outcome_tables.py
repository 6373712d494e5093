"""What became of positions: who was liquidated, since when that was due, and who was watched."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def _owner() -> tuple[sa.Column[int], sa.Column[str]]:
    return (
        sa.Column("chain_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("contract", sa.String(42), nullable=False),
    )


def upgrade() -> None:
    """Create the tables; the index is read anew, so that earlier liquidations are in them."""
    _create_outcomes()
    _create_due()
    _create_watches()
    op.execute("DELETE FROM index_rows")
    op.execute("DELETE FROM index_blocks")


def downgrade() -> None:
    """Drop the tables."""
    for name in ("position_watches", "liquidations_due", "liquidation_outcomes"):
        op.drop_table(name)


def _create_outcomes() -> None:
    op.create_table(
        "liquidation_outcomes",
        *_owner(),
        sa.Column("block_number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("block_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("position", sa.String(64), nullable=False),
        sa.Column("watched_as", sa.String(64), nullable=False),
        sa.Column("at_s", sa.BigInteger(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("due_block", sa.BigInteger(), nullable=True),
        sa.Column("due_s", sa.BigInteger(), nullable=True),
        sa.Column("joined_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("risk_round", sa.BigInteger(), nullable=True),
        sa.Column("risk_message", sa.LargeBinary(32), nullable=True),
        sa.Column("warned_level", sa.Integer(), nullable=True),
        sa.Column("warned_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("watch", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint(
            "chain_id",
            "contract",
            "block_number",
            "log_index",
            name=op.f("pk_liquidation_outcomes"),
        ),
    )
    columns = ["chain_id", "contract", "watched_as", "at_s"]
    op.create_index("ix_liquidation_outcomes_watched", "liquidation_outcomes", columns)


def _create_due() -> None:
    op.create_table(
        "liquidations_due",
        *_owner(),
        sa.Column("position", sa.String(64), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("at_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "chain_id", "contract", "position", name=op.f("pk_liquidations_due")
        ),
    )


def _create_watches() -> None:
    op.create_table(
        "position_watches",
        *_owner(),
        sa.Column("watched_as", sa.String(64), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("settled_ms", sa.BigInteger(), nullable=True),
        sa.Column("liquidated_s", sa.BigInteger(), nullable=True),
        sa.Column("closed_s", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint(
            "chain_id", "contract", "watched_as", "at_ms", name=op.f("pk_position_watches")
        ),
    )
    op.create_index("ix_position_watches_at", "position_watches", ["chain_id", "contract", "at_ms"])
