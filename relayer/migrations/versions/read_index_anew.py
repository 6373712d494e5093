"""The index keeps accounts' trades from here on: what was read without them is read anew."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forget the index; the next start reads it from the chain, from the first block on."""
    op.execute("DELETE FROM index_rows")
    op.execute("DELETE FROM index_blocks")


def downgrade() -> None:
    """An older version does not know rows of trades; it reads anew, too."""
    upgrade()
