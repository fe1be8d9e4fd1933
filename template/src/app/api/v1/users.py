from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, HTTPException, status
from sqlalchemy import select

from app.api.pagination import Page, PageQuery, read_page
from app.core.db.session import ReadSessionDep, SessionDep
from app.models.user import User
from app.schemas.user import UserCreate, UserRead, UserUpdate

router = APIRouter(prefix="/users", tags=["users"])


async def get_user(user_id: UUID, session: SessionDep) -> User:
    user = await session.get(User, user_id)
    if user is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "No user has this id")
    return user


UserDep = Annotated[User, Depends(get_user)]


@router.post("", response_model=UserRead, status_code=status.HTTP_201_CREATED)
async def create_user(body: UserCreate, session: SessionDep) -> User:
    user = User(**body.model_dump())
    session.add(user)
    await session.flush()
    return user


@router.get("", response_model=Page[UserRead])
async def list_users(session: ReadSessionDep, page: PageQuery) -> dict[str, Any]:
    """Users in the order in which they were made."""
    return await read_page(session, select(User), User, page)


@router.get("/{user_id}", response_model=UserRead)
async def read_user(user_id: UUID, session: ReadSessionDep) -> User:
    return await get_user(user_id, session)


@router.patch("/{user_id}", response_model=UserRead)
async def update_user(user: UserDep, body: UserUpdate, session: SessionDep) -> User:
    for name, value in body.model_dump(exclude_unset=True).items():
        setattr(user, name, value)
    await session.flush()
    return user


@router.delete("/{user_id}", status_code=status.HTTP_204_NO_CONTENT)
async def delete_user(user: UserDep, session: SessionDep) -> None:
    """Delete a user; one with posts stays, and the answer is 409."""
    await session.delete(user)
