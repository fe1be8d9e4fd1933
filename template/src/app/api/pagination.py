"""Lists in pages by key: the last page costs what the first one does, unlike with OFFSET."""

from collections.abc import Sequence
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db.mixins import UUIDPrimaryKey

Item = TypeVar("Item")
Row = TypeVar("Row", bound=UUIDPrimaryKey)


class Page(BaseModel, Generic[Item]):
    """Some items; `next` is the `after` of the following page, null where there is none."""

    items: Sequence[Item]
    next: UUID | None


class PageParameters(BaseModel):
    limit: int = Field(default=50, ge=1, le=100)
    after: UUID | None = None


PageQuery = Annotated[PageParameters, Query()]


async def read_page(
    session: AsyncSession, rows: Select[Row], entity: type[Row], page: PageParameters
) -> dict[str, Any]:
    """Read one page of `rows`, in the order in which they were made (as their ids are)."""
    if page.after is not None:
        rows = rows.where(entity.id > page.after)
    # One more than asked for tells whether there is a next page, without a count.
    found = (await session.scalars(rows.order_by(entity.id).limit(page.limit + 1))).all()
    items = found[: page.limit]
    return {"items": items, "next": items[-1].id if len(found) > page.limit else None}
