"""Run by Alembic, never imported: applies the migrations on the connection that it was given."""

from __future__ import annotations

from alembic import context

from relayer.storage import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite alters a table only by copying it.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
