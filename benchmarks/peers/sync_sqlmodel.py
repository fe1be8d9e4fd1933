"""SQLModel and psycopg in threads: what the best-known template does."""

import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy import func, true
from sqlmodel import Field, Session, SQLModel, create_engine, select

from benchmarks.peers.schemas import UserCreate, UserRead


class User(SQLModel, table=True):
    __tablename__ = "users"

    id: UUID | None = Field(
        None, primary_key=True, sa_column_kwargs={"server_default": func.uuidv7()}
    )
    email: str
    full_name: str
    is_active: bool | None = Field(None, sa_column_kwargs={"server_default": true()})
    created_at: datetime | None = Field(None, sa_column_kwargs={"server_default": func.now()})
    updated_at: datetime | None = Field(None, sa_column_kwargs={"server_default": func.now()})


engine = create_engine(os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:"))


def get_session() -> Iterator[Session]:
    with Session(engine) as session:
        yield session


SessionDep = Annotated[Session, Depends(get_session)]
app = FastAPI()


@app.get("/api/v1/users/{user_id}", response_model=UserRead)
def read_user(user_id: UUID, session: SessionDep) -> User:
    user = session.get(User, user_id)
    if user is None:
        raise HTTPException(404)
    return user


@app.get("/api/v1/users", response_model=list[UserRead])
def list_users(session: SessionDep, limit: int = 50) -> Sequence[User]:
    return session.exec(select(User).order_by(User.id).limit(limit)).all()


@app.post("/api/v1/users", response_model=UserRead, status_code=201)
def create_user(body: UserCreate, session: SessionDep) -> User:
    user = User(email=body.email, full_name=body.full_name)
    session.add(user)
    session.commit()
    session.refresh(user)
    return user
