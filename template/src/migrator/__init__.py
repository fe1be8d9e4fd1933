"""Makes schema changes safe; knows Alembic, SQLAlchemy and PostgreSQL, but never `app`."""
