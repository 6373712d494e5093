"""The forecasts of the models in service and in shadow, what followed, and the factors learned."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# SQLite numbers a row by itself only in a column of type INTEGER.
_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    _create_forecasts()
    op.create_table(
        "factor_states",
        sa.Column("model_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("judged_ms", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("model_hash", name=op.f("pk_factor_states")),
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("factor_states", "forecasts"):
        op.drop_table(table)


def _create_forecasts() -> None:
    op.create_table(
        "forecasts",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("model_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("symbol", sa.String(64), nullable=False),
        sa.Column("horizon_s", sa.BigInteger(), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("deviation", sa.Double(), nullable=False),
        sa.Column("quantiles", sa.JSON(), nullable=False),
        sa.Column("features", sa.LargeBinary(), nullable=True),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("variance", sa.Double(), nullable=True),
        sa.Column("fall", sa.Double(), nullable=True),
        sa.Column("rise", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_forecasts")),
        sa.UniqueConstraint(
            *("model_hash", "symbol", "horizon_s", "from_ms"),
            name=op.f("uq_forecasts_model_hash_symbol_horizon_s_from_ms"),
        ),
    )
    op.create_index(op.f("ix_forecasts_ended_ms"), "forecasts", ["ended_ms"])
