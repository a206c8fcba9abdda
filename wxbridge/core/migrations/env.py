"""Runs the migrations on the connection that `wxbridge.core.database.migrate` hands over."""

from alembic import context

from wxbridge.core.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
