"""Columns that most tables have."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.uuid7 import uuid7
from app.core.project import PROJECT

# PostgreSQL makes them itself since version 18.
_UUID7: dict[str, Any] = (
    {"server_default": func.uuidv7()} if PROJECT.postgres_version >= 18 else {"default": uuid7}
)


class UUIDPrimaryKey:
    """`id`, a UUID of version 7: not guessable, and in the order in which rows were made."""

    id: Mapped[UUID] = mapped_column(primary_key=True, sort_order=-1, **_UUID7)


class Timestamps:
    """`created_at` and `updated_at`, with time zone, by the server's clock."""

    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=1)
    updated_at: Mapped[datetime] = mapped_column(
        server_default=func.now(), onupdate=func.now(), sort_order=1
    )
