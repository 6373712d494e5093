"""The tables of the daemon's memory, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from relayer.errors import readable

# Named, so that a migration can alter each constraint on both databases.
metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers a row by itself only in a column of type INTEGER.
_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


class Words(sa.TypeDecorator[str]):
    """What somebody said, of which some may be from outside: kept as far as it can be read.

    A row whose reason the database refuses would never be settled, and all behind it would wait.
    """

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Leave out what no database takes."""
        return None if value is None else readable(value)


cycles = sa.Table(
    "cycles",
    metadata,
    sa.Column("id", _ROW_ID, primary_key=True),
    sa.Column("started_at_ms", sa.BigInteger, nullable=False, index=True),
    sa.Column("finished_at_ms", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("result", sa.String(32), nullable=False),
    sa.Column("round", sa.BigInteger),
    sa.Column("block_number", sa.BigInteger),
    sa.Column("holds", sa.JSON, nullable=False),
    sa.Column("detail", Words, nullable=False),
)

decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("id", _ROW_ID, primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("chain_id", sa.BigInteger, nullable=False),
    sa.Column("contract", sa.String(42), nullable=False),
    sa.Column("round", sa.BigInteger, nullable=False),
    sa.Column("decided_at_ms", sa.BigInteger, nullable=False, index=True),
    sa.Column("message_hash", sa.LargeBinary(32), nullable=False),
    sa.Column("evidence_hash", sa.LargeBinary(32), nullable=False),
    sa.Column("model_hash", sa.LargeBinary(32)),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("tx_hash", sa.LargeBinary(32), index=True),
    sa.Column("block_number", sa.BigInteger),
    sa.Column("skipped", sa.JSON, nullable=False),
    sa.Column("reason", Words, nullable=False),
    sa.UniqueConstraint("chain_id", "contract", "message_hash"),
    sa.Index("ix_decisions_round", "chain_id", "contract", "round"),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", _ROW_ID, primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("chain_id", sa.BigInteger, nullable=False),
    sa.Column("contract", sa.String(42), nullable=False),
    sa.Column("sender", sa.String(42), nullable=False),
    sa.Column("round", sa.BigInteger, nullable=False),
    sa.Column("valid_until_ms", sa.BigInteger, nullable=False),
    sa.Column("message_hash", sa.LargeBinary(32), nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("nonce", sa.BigInteger),
    sa.Column("tx_hash", sa.LargeBinary(32)),
    sa.Column("block_number", sa.BigInteger),
    sa.Column("outcome", sa.JSON, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("chain_id", "contract", "message_hash"),
)

# What a half without keys wants signed or sent, until the half with the keys has ended it.
proposals = sa.Table(
    "proposals",
    metadata,
    sa.Column("id", _ROW_ID, primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("chain_id", sa.BigInteger, nullable=False),
    sa.Column("contract", sa.String(42), nullable=False),
    sa.Column("round", sa.BigInteger, nullable=False),
    sa.Column("valid_until_ms", sa.BigInteger, nullable=False),
    sa.Column("message_hash", sa.LargeBinary(32), nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),  # emptied at the end
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("answer", sa.JSON, nullable=False),
    sa.Column("proposed_at_ms", sa.BigInteger, nullable=False),
    sa.Column("ended_at_ms", sa.BigInteger),
    sa.UniqueConstraint("chain_id", "contract", "message_hash", "kind"),
)

# Each set of signed bytes that may ever have left the machine, one row a set; never altered.
attempts = sa.Table(
    "delivery_attempts",
    metadata,
    sa.Column("id", _ROW_ID, primary_key=True),
    sa.Column("delivery_id", sa.ForeignKey("deliveries.id"), nullable=False, index=True),
    sa.Column("purpose", sa.String(8), nullable=False),
    sa.Column("nonce", sa.BigInteger, nullable=False),
    sa.Column("gas_limit", sa.BigInteger, nullable=False),
    sa.Column("max_fee_wei", sa.BigInteger, nullable=False),
    sa.Column("priority_fee_wei", sa.BigInteger, nullable=False),
    sa.Column("raw", sa.LargeBinary, nullable=False),
    sa.Column("tx_hash", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("signed_at_ms", sa.BigInteger, nullable=False),
)

# What a signer has put its name to; the primary key is the promise "one message a round".
signed_rounds = sa.Table(
    "signed_rounds",
    metadata,
    sa.Column("signer", sa.String(42), primary_key=True),
    sa.Column("chain_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("contract", sa.String(42), primary_key=True),
    sa.Column("round", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.LargeBinary(32), nullable=False),
    sa.Column("signed_at_ms", sa.BigInteger, nullable=False),
)


# What the margin contracts store, as their events told it: rows of numbers in hexadecimal.
index_rows = sa.Table(
    "index_rows",
    metadata,
    sa.Column("chain_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("contract", sa.String(42), primary_key=True),
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("row", sa.Text, nullable=False),
)

# The recent blocks that it has come to, and what taking each of them back would put there.
index_blocks = sa.Table(
    "index_blocks",
    metadata,
    sa.Column("chain_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("contract", sa.String(42), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("block_hash", sa.LargeBinary(32), nullable=False),
    sa.Column("undo", sa.JSON, nullable=False),
)

# What the models in service and in shadow promised, and what followed; no outcome: still open.
forecasts = sa.Table(
    "forecasts",
    metadata,
    sa.Column("id", _ROW_ID, primary_key=True),
    sa.Column("model_hash", sa.LargeBinary(32), nullable=False),
    sa.Column("symbol", sa.String(64), nullable=False),
    sa.Column("horizon_s", sa.BigInteger, nullable=False),
    sa.Column("from_ms", sa.BigInteger, nullable=False),
    sa.Column("deviation", sa.Double, nullable=False),
    sa.Column("quantiles", sa.JSON, nullable=False),
    sa.Column("features", sa.LargeBinary),
    sa.Column("ended_ms", sa.BigInteger, index=True),
    sa.Column("variance", sa.Double),
    sa.Column("fall", sa.Double),
    sa.Column("rise", sa.Double),
    sa.UniqueConstraint("model_hash", "symbol", "horizon_s", "from_ms"),
)

# What the outcomes have taught: one row a model, replaced with each lesson.
factor_states = sa.Table(
    "factor_states",
    metadata,
    sa.Column("model_hash", sa.LargeBinary(32), primary_key=True),
    sa.Column("judged_ms", sa.BigInteger, nullable=False),
    sa.Column("state", sa.JSON, nullable=False),
)


# Who may send: one row a deployment, taken and renewed by the database's own clock.
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.String(96), primary_key=True),
    sa.Column("holder", sa.String(96), nullable=False),
    sa.Column("term", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
)

# What people are told, each warning once; `said_at_ms` is empty until a channel has taken it.
notices = sa.Table(
    "notices",
    metadata,
    sa.Column("id", _ROW_ID, primary_key=True),
    sa.Column("chain_id", sa.BigInteger, nullable=False),
    sa.Column("contract", sa.String(42), nullable=False),
    sa.Column("key", sa.String(64), nullable=False),
    sa.Column("level", sa.Integer, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("noted_at_ms", sa.BigInteger, nullable=False),
    sa.Column("said_at_ms", sa.BigInteger, index=True),
)


# What was held back until somebody approves it; words are 256 bits in hexadecimal.
held_decisions = sa.Table(
    "held_decisions",
    metadata,
    sa.Column("id", _ROW_ID, primary_key=True),
    sa.Column("chain_id", sa.BigInteger, nullable=False),
    sa.Column("contract", sa.String(42), nullable=False),
    sa.Column("market", sa.BigInteger, nullable=False),
    sa.Column("symbol", sa.String(64), nullable=False),
    sa.Column("word", sa.String(66), nullable=False),
    sa.Column("live", sa.String(66), nullable=False),
    sa.Column("impact", sa.JSON, nullable=False),
    sa.Column("detail", Words, nullable=False),
    sa.Column("held_at_ms", sa.BigInteger, nullable=False),
    sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("decided_by", sa.String(96), nullable=False),
    sa.Column("decided_at_ms", sa.BigInteger),
    sa.Column("why", Words, nullable=False),
    sa.Column("ended_at_ms", sa.BigInteger),
    sa.Column("reason", Words, nullable=False),
)


# Who was liquidated, from events with the index; from `joined_at_ms` on, with what went before.
liquidation_outcomes = sa.Table(
    "liquidation_outcomes",
    metadata,
    sa.Column("chain_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("contract", sa.String(42), primary_key=True),
    sa.Column("block_number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("log_index", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("block_hash", sa.LargeBinary(32), nullable=False),
    sa.Column("position", sa.String(64), nullable=False),
    sa.Column("watched_as", sa.String(64), nullable=False),
    sa.Column("at_s", sa.BigInteger, nullable=False),
    sa.Column("facts", sa.JSON, nullable=False),
    sa.Column("due_block", sa.BigInteger),
    sa.Column("due_s", sa.BigInteger),
    sa.Column("joined_at_ms", sa.BigInteger),
    sa.Column("risk_round", sa.BigInteger),
    sa.Column("risk_message", sa.LargeBinary(32)),
    sa.Column("warned_level", sa.Integer),
    sa.Column("warned_at_ms", sa.BigInteger),
    sa.Column("watch", sa.JSON),
    sa.Index("ix_liquidation_outcomes_watched", "chain_id", "contract", "watched_as", "at_s"),
)

# Who may be liquidated now by the prices of the chain, and since which block that was seen.
liquidations_due = sa.Table(
    "liquidations_due",
    metadata,
    sa.Column("chain_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("contract", sa.String(42), primary_key=True),
    sa.Column("position", sa.String(64), primary_key=True),
    sa.Column("block_number", sa.BigInteger, nullable=False),
    sa.Column("at_s", sa.BigInteger, nullable=False),
)

# How positions on the board of warnings stood after a cycle, and what became of them in a day.
position_watches = sa.Table(
    "position_watches",
    metadata,
    sa.Column("chain_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("contract", sa.String(42), primary_key=True),
    sa.Column("watched_as", sa.String(64), primary_key=True),
    sa.Column("at_ms", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("facts", sa.JSON, nullable=False),
    sa.Column("settled_ms", sa.BigInteger),
    sa.Column("liquidated_s", sa.BigInteger),
    sa.Column("closed_s", sa.BigInteger),
    sa.Index("ix_position_watches_at", "chain_id", "contract", "at_ms"),
)

# What the tests of chances of liquidation have seen.
chance_tests = sa.Table(
    "chance_tests",
    metadata,
    sa.Column("chain_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("contract", sa.String(42), primary_key=True),
    sa.Column("state", sa.JSON, nullable=False),
)
