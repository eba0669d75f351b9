"""Alembic environment of the trace file. It runs in the transaction that chainops hands over."""

from alembic import context

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("Run migrations with: chainops db upgrade --db PATH")

context.configure(connection=connection, transactional_ddl=True, transaction_per_migration=False)
context.run_migrations()
