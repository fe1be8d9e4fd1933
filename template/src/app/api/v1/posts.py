from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, HTTPException, status
from sqlalchemy import select

from app.api.pagination import Page, PageQuery, read_page
from app.api.v1.users import get_user
from app.core.db.session import ReadSessionDep, SessionDep
from app.models.post import Post, PostStatus
from app.schemas.post import PostCreate, PostRead, PostUpdate

router = APIRouter(prefix="/posts", tags=["posts"])


async def get_post(post_id: UUID, session: SessionDep) -> Post:
    post = await session.get(Post, post_id)
    if post is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "No post has this id")
    return post


PostDep = Annotated[Post, Depends(get_post)]


@router.post("", response_model=PostRead, status_code=status.HTTP_201_CREATED)
async def create_post(body: PostCreate, session: SessionDep) -> Post:
    await get_user(body.author_id, session)
    post = Post(**body.model_dump())
    session.add(post)
    await session.flush()
    return post


@router.get("", response_model=Page[PostRead])
async def list_posts(
    session: ReadSessionDep,
    page: PageQuery,
    author_id: UUID | None = None,
    status: PostStatus | None = None,
) -> dict[str, Any]:
    """Posts in the order in which they were made, of one author or in one status if asked for."""
    posts = select(Post)
    if author_id is not None:
        posts = posts.where(Post.author_id == author_id)
    if status is not None:
        posts = posts.where(Post.status == status)
    return await read_page(session, posts, Post, page)


@router.get("/{post_id}", response_model=PostRead)
async def read_post(post_id: UUID, session: ReadSessionDep) -> Post:
    return await get_post(post_id, session)


@router.patch("/{post_id}", response_model=PostRead)
async def update_post(post: PostDep, body: PostUpdate, session: SessionDep) -> Post:
    for name, value in body.model_dump(exclude_unset=True).items():
        setattr(post, name, value)
    await session.flush()
    return post


@router.delete("/{post_id}", status_code=status.HTTP_204_NO_CONTENT)
async def delete_post(post: PostDep, session: SessionDep) -> None:
    await session.delete(post)
