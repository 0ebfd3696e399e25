"""How Alembic runs a revision: on the connection, and in the transaction, of whoever opens the state."""

from __future__ import annotations

from alembic import context

from cloud.state.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
