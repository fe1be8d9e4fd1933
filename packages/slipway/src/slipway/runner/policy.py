"""How much a run may get in the way of others, as limits of time and as connection parameters."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ASYNCPG = "asyncpg"
LIBPQ = frozenset({"psycopg", "psycopg_async", "psycopg2"})
DRIVERS = frozenset({ASYNCPG}) | LIBPQ
# Seconds. An index may be built for hours in silence, and a load balancer on the way may forget
# silent connections after 4 minutes (Azure) or 350 s (AWS). The server needs them too: it releases
# the lock of a runner whose machine is gone.
KEEPALIVE = {"idle": 30, "interval": 10, "count": 6}


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How much a run may get in the way of others, and how patient it is.

    `lock_timeout` is how long queries of the service may queue behind a migration that itself
    queues for a lock; that is why it is short and why there are several `attempts`.

    Attributes:
        lock_timeout: seconds that a statement waits for a lock.
        statement_timeout: seconds that a statement may take.
        idle_in_transaction_timeout: seconds that a transaction may be idle.
        runner_timeout: seconds to wait for another runner.
        attempts: how often a revision is tried that did not get its lock.

    Raises:
        ValueError: there is no attempt, or a negative time.
    """

    lock_timeout: float = 1
    statement_timeout: float = 60
    idle_in_transaction_timeout: float = 60
    runner_timeout: float = 300
    attempts: int = 10

    def __post_init__(self) -> None:
        times = (
            self.lock_timeout,
            self.statement_timeout,
            self.idle_in_transaction_timeout,
            self.runner_timeout,
        )
        if self.attempts < 1 or min(times) < 0:
            raise ValueError(f"{self}: needs at least 1 attempt and no negative time")

    def connect_args(self, driver: str) -> dict[str, Any]:
        """Return the parameters for `create_engine` or `create_async_engine`.

        As start-up parameters, timeouts cost no statement, `RESET` returns to them, and a pooler in
        transaction mode refuses them instead of losing them.

        Args:
            driver: asyncpg, psycopg, psycopg_async or psycopg2.

        Raises:
            ValueError: the driver is another one.
        """
        timeouts = {
            "lock_timeout": self.lock_timeout,
            "statement_timeout": self.statement_timeout,
            "idle_in_transaction_session_timeout": self.idle_in_transaction_timeout,
        }
        settings = {name: f"{round(seconds * 1000)}ms" for name, seconds in timeouts.items()}
        settings |= {f"tcp_keepalives_{name}": str(value) for name, value in KEEPALIVE.items()}
        if driver == ASYNCPG:
            return {"server_settings": {**settings, "application_name": application_name()}}
        if driver in LIBPQ:
            options = " ".join(f"-c {name}={value}" for name, value in settings.items())
            return {
                # These replace the variable, which libpq would otherwise use.
                "options": f"{os.environ.get('PGOPTIONS', '')} {options}".strip(),
                "application_name": application_name(),
                **{f"keepalives_{name}": value for name, value in KEEPALIVE.items()},
            }
        raise ValueError(f"{driver!r} is not one of {', '.join(sorted(DRIVERS))}")


def application_name() -> str:
    """The name of the connection that migrates, as `pg_stat_activity` shows it."""
    return f"migrate {socket.gethostname()}"


def merged(policy: Mapping[str, Any], *others: Mapping[str, Any]) -> dict[str, Any]:
    """Add a project's own parameters of the driver to those of the policy, whose timeouts hold.

    All may have settings of the server: `server_settings` of asyncpg, `options` of libpq.
    """
    both = {key: value for given in (policy, *others) for key, value in given.items()}
    if ours := policy.get("server_settings"):
        settings = {k: v for given in others for k, v in given.get("server_settings", {}).items()}
        name = settings.get("application_name", ours["application_name"])
        both["server_settings"] = {**settings, **ours, "application_name": name}
    if ours := policy.get("options"):  # of repeated ones, the last holds
        options = [given["options"] for given in others if "options" in given]
        both["options"] = " ".join([*options, ours])
    return both
