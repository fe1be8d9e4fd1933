"""FastAPI and asyncpg without an ORM: the practical limit."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
from fastapi import FastAPI, HTTPException

from benchmarks.peers.schemas import UserCreate, UserRead

SELECT = "SELECT id, email, full_name, is_active, created_at, updated_at FROM users"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=5, max_size=5) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/api/v1/users/{user_id}", response_model=UserRead)
async def read_user(user_id: UUID) -> Any:
    row = await app.state.pool.fetchrow(f"{SELECT} WHERE id = $1", user_id)
    if row is None:
        raise HTTPException(404)
    return dict(row)


@app.get("/api/v1/users", response_model=list[UserRead])
async def list_users(limit: int = 50) -> Any:
    rows = await app.state.pool.fetch(f"{SELECT} ORDER BY id LIMIT $1", limit)
    return [dict(row) for row in rows]


@app.post("/api/v1/users", response_model=UserRead, status_code=201)
async def create_user(body: UserCreate) -> Any:
    row = await app.state.pool.fetchrow(
        "INSERT INTO users (email, full_name) VALUES ($1, $2) "
        "RETURNING id, email, full_name, is_active, created_at, updated_at",
        body.email,
        body.full_name,
    )
    return dict(row)
