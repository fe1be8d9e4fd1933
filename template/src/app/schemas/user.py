from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import MISSING, AfterValidator, EmailStr, Field, StrictBool

from app.schemas.base import Line, Schema

# One address, one spelling: the unique index then holds for what people mean by it.
Email = Annotated[EmailStr, AfterValidator(str.lower)]


class UserCreate(Schema):
    email: Email = Field(examples=["ada@lovelace.org"])
    full_name: Line = Field(examples=["Ada Lovelace"])


class UserUpdate(Schema):
    """Only what is sent is changed."""

    email: Email | MISSING = MISSING
    full_name: Line | MISSING = MISSING
    is_active: StrictBool | MISSING = MISSING


class UserRead(Schema):
    id: UUID
    email: str
    full_name: str
    is_active: bool
    created_at: datetime
    updated_at: datetime
