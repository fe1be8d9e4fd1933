"""SQL with parameters that any driver is sent as it is written."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, CursorResult

# PostgreSQL takes no NUL in SQL, so no text that people write can be mistaken for a parameter.
PARAMETER = "\0"


@dataclass(frozen=True)
class BackfillStatement:
    """SQL with a value for each PARAMETER in it, in their order.

    Unlike in `sqlalchemy.text` and in drivers' own SQL, `:name`, `%` and `$1` mean nothing.
    """

    sql: str
    parameters: tuple[object, ...] = ()

    def execute(self, connection: Connection) -> CursorResult[Any]:
        parts = self.sql.split(PARAMETER)
        if connection.dialect.paramstyle == "numeric_dollar":  # asyncpg
            numbered = (f"${number}{part}" for number, part in enumerate(parts[1:], 1))
            return connection.exec_driver_sql("".join((parts[0], *numbered)), self.parameters)
        sql = "%s".join(part.replace("%", "%%") for part in parts)
        return connection.exec_driver_sql(sql, self.parameters)

    def literal(self) -> str:
        """The statement with its parameters in their places, as psql takes it."""
        first, *rest = self.sql.split(PARAMETER)
        literals = ("'" + str(value).replace("'", "''") + "'" for value in self.parameters)
        return first + "".join(value + part for value, part in zip(literals, rest, strict=True))
