"""What all schemas share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints


class Schema(BaseModel):
    """Reads ORM objects as they are, and refuses fields that it does not know."""

    model_config = ConfigDict(from_attributes=True, extra="forbid")


# PostgreSQL's text cannot hold NUL, so a client that sends one is told so before the database is.
Line = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$"
    ),
]
Body = Annotated[str, StringConstraints(max_length=20_000, pattern=r"^[^\x00]*$")]
