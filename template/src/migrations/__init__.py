"""The history of the schema, and how Alembic applies it."""
