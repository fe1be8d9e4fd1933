"""Migrations by the service itself, for hosts that run one container only."""

import asyncio
import atexit
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

log = logging.getLogger(__name__)


@asynccontextmanager
async def migrating() -> AsyncIterator[None]:
    """Apply the migrations in the background, for as long as the block takes.

    The process answers its liveness probe meanwhile, however long it waits for another replica. A
    migration that fails stops the process: a service on the wrong schema is of no use.
    """
    task = asyncio.create_task(_upgrade())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _upgrade() -> None:
    # The same command as in a deployment, so the same runner and the same log lines.
    alembic = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "alembic", "upgrade", "head"
    )
    try:
        code = await alembic.wait()
    except asyncio.CancelledError:
        alembic.terminate()
        await alembic.wait()
        raise
    if code:
        log.error("The migrations failed, so the service stops")
        # As process 1 of a container it survives its own signal, and would exit with 0.
        atexit.register(os._exit, 1)
        os.kill(os.getpid(), signal.SIGTERM)
