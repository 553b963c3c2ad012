"""What alembic runs: on the connection that it is handed, in the transaction that is open."""

from alembic import context

from server.database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table="lanner_version",
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
