"""FastAPI without a database: the same bodies, from memory."""

from datetime import UTC, datetime
from uuid import UUID

from fastapi import FastAPI

from benchmarks.peers.schemas import UserCreate, UserRead

NOW = datetime.now(UTC)
app = FastAPI()


def user(id: UUID, email: str, full_name: str) -> UserRead:
    return UserRead(
        id=id, email=email, full_name=full_name, is_active=True, created_at=NOW, updated_at=NOW
    )


@app.get("/api/v1/users/{user_id}")
async def read_user(user_id: UUID) -> UserRead:
    return user(user_id, "ada@example.com", "Ada")


@app.get("/api/v1/users")
async def list_users(limit: int = 50) -> list[UserRead]:
    return [user(UUID(int=number), "ada@example.com", "Ada") for number in range(limit)]


@app.post("/api/v1/users", status_code=201)
async def create_user(body: UserCreate) -> UserRead:
    return user(UUID(int=0), body.email, body.full_name)
