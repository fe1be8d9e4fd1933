"""What the trace asks of a driver's own connection: asyncpg, psycopg or psycopg2."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

# Of `transaction_status`, as libpq numbers them.
IDLE = 0


@dataclass(frozen=True)
class Notice:
    """A message of the server: `severity` is not translated, `text` is its first line."""

    severity: str
    text: str


def request_notices(driver: str, parameters: dict[str, Any]) -> None:
    """Add what makes PostgreSQL send its debug messages to the parameters of a connection."""
    if driver == "asyncpg":
        settings = parameters.get("server_settings", {})
        parameters["server_settings"] = {**settings, "client_min_messages": "debug1"}
    else:
        options = parameters.get("options", "")
        parameters["options"] = f"{options} -c client_min_messages=debug1".strip()


def keep_notices(connection: Any, keep: Callable[[Notice], None]) -> None:
    """Call `keep` with each message that the server sends on a driver's connection."""
    if hasattr(connection, "add_log_listener"):  # asyncpg
        connection.add_log_listener(
            lambda _, message: keep(Notice(message.severity_en, message.message))
        )
    elif hasattr(connection, "add_notice_handler"):  # psycopg
        connection.add_notice_handler(
            lambda found: keep(
                Notice(found.severity_nonlocalized or "", found.message_primary or "")
            )
        )
    else:
        connection.notices = _Notices(keep)


@dataclass(frozen=True)
class _Notices:
    """In the place of psycopg2's list, which it appends lines to: `NOTICE:  text`."""

    keep: Callable[[Notice], None]

    def append(self, line: str) -> None:
        severity, _, text = line.partition(":")
        self.keep(Notice(severity, text.strip().partition("\n")[0]))


def is_in_transaction(connection: Connection) -> bool:
    """Whether the session has a transaction open, as the driver knows without asking."""
    driver: Any = connection.connection.driver_connection
    if hasattr(driver, "is_in_transaction"):  # asyncpg
        return bool(driver.is_in_transaction())
    return bool(driver.info.transaction_status != IDLE)
