"""`python -m app.core.reset_database` drops the development database and creates it, empty."""

import asyncio

from sqlalchemy import URL, NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

from app.core.config import Environment, load_settings
from app.core.db.engine import ConnectError, connect


async def reset_database(url: URL) -> None:
    """Drop the database that `url` names, ending all connections to it, and create it."""
    maintenance = url.set(database="template1" if url.database == "postgres" else "postgres")
    engine = create_async_engine(maintenance, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    name = engine.dialect.identifier_preparer.quote_identifier(str(url.database))
    async with connect(engine) as connection:
        await connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        await connection.execute(text(f"CREATE DATABASE {name}"))
    await engine.dispose()


if __name__ == "__main__":
    settings = load_settings()
    if settings.ENVIRONMENT is not Environment.DEVELOPMENT:
        raise SystemExit(
            f"ENVIRONMENT is {settings.ENVIRONMENT}: only a development database is ever reset"
        )
    try:
        asyncio.run(reset_database(settings.MIGRATION_DATABASE_URL or settings.DATABASE_URL))
    except ConnectError as error:
        raise SystemExit(str(error)) from None
