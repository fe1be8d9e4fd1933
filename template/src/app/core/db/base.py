"""The declarative base of all models."""

import enum
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import DateTime, Enum, MetaData
from sqlalchemy.orm import DeclarativeBase

# Without a convention the server names constraints, and no downgrade knows what to drop:
# https://alembic.sqlalchemy.org/en/latest/naming.html
NAMING_CONVENTION = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def _values(members: type[enum.Enum]) -> list[str]:
    return [str(member.value) for member in members]


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: DateTime(timezone=True),
        # The database stores the values that the API shows, not the names of Python members.
        enum.Enum: Enum(enum.Enum, values_callable=_values),
    }
    __mapper_args__ = {  # noqa: RUF012  declared by SQLAlchemy
        # What the server sets (ids, timestamps) comes back with the statement: to load it later
        # would take a query that an async session cannot make by itself.
        "eager_defaults": True,
        # A row that another request deleted first is as gone as it should be.
        "confirm_deleted_rows": False,
    }
