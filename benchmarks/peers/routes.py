"""The three routes on an AsyncSession, for applications that differ in how they get one."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import FastAPI, HTTPException
from fastapi.params import Depends as Dependency
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from benchmarks.peers.models import User
from benchmarks.peers.schemas import UserCreate, UserRead


def add_routes(app: FastAPI, get_session: Dependency) -> None:
    SessionDep = Annotated[AsyncSession, get_session]  # noqa: N806

    @app.get("/api/v1/users/{user_id}", response_model=UserRead)
    async def read_user(user_id: UUID, session: SessionDep) -> User:
        user = await session.get(User, user_id)
        if user is None:
            raise HTTPException(404)
        return user

    @app.get("/api/v1/users", response_model=list[UserRead])
    async def list_users(session: SessionDep, limit: int = 50) -> Sequence[User]:
        return (await session.scalars(select(User).order_by(User.id).limit(limit))).all()

    @app.post("/api/v1/users", response_model=UserRead, status_code=201)
    async def create_user(body: UserCreate, session: SessionDep) -> User:
        user = User(**body.model_dump())
        session.add(user)
        await session.flush()
        return user
