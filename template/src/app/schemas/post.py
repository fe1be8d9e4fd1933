from datetime import datetime
from uuid import UUID

from pydantic import MISSING, Field

from app.models.post import PostStatus
from app.schemas.base import Body, Line, Schema


class PostCreate(Schema):
    author_id: UUID
    title: Line = Field(examples=["On looms"])
    body: Body = Field(examples=["They weave patterns from cards."])
    status: PostStatus = PostStatus.DRAFT


class PostUpdate(Schema):
    """Only what is sent is changed; the author stays."""

    title: Line | MISSING = MISSING
    body: Body | MISSING = MISSING
    status: PostStatus | MISSING = MISSING


class PostRead(Schema):
    id: UUID
    author_id: UUID
    title: str
    body: str
    status: PostStatus
    created_at: datetime
    updated_at: datetime
