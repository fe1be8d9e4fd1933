"""PostgreSQL's dialect without a driver.

Drivers that write parameters with `%` have each other `%` of a statement doubled. What goes into a
file, or is sent as it is, must not have that.
"""

from typing import Any

from sqlalchemy import Connection, CursorResult
from sqlalchemy.dialects import postgresql

DIALECT = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]


def quoted(*names: str | None) -> str:
    """Quote the parts of a name where they need it, and join those that are not None."""
    return ".".join(DIALECT.identifier_preparer.quote(name) for name in names if name)


def send(connection: Connection, sql: str) -> CursorResult[Any]:
    """Execute a statement as it is, without a look for parameters in it."""
    return connection.exec_driver_sql(sql, execution_options={"no_parameters": True})
