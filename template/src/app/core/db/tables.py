"""Tables created from the models, for first sketches without migrations."""

from sqlalchemy import MetaData, Text, cast, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.db.engine import connect
from app.core.startup import StartupError

CREATE_TABLES_LOCK = 0x736C697077617901  # any number that no other advisory lock uses


async def create_tables(engine: AsyncEngine, metadata: MetaData) -> None:
    """Create the tables that are missing; several processes may do so at once.

    Raises:
        ConnectError: no connection can be opened.
        StartupError: the database is under migrations, which would then find tables that they
            did not create.
    """
    async with connect(engine) as connection, connection.begin():
        await connection.execute(select(func.pg_advisory_xact_lock(CREATE_TABLES_LOCK)))
        if await connection.scalar(select(cast(func.to_regclass("alembic_version"), Text))):
            raise StartupError(
                "CREATE_TABLES_ON_START is on, but this database is under migrations: "
                "turn it off and run `just migrate-up`"
            )
        await connection.run_sync(metadata.create_all)
