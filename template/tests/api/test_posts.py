from uuid import uuid4

import httpx2
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.user import User

URL = "/api/v1/posts"


@pytest.fixture
async def author(session: AsyncSession) -> User:
    author = User(email="ada@example.com", full_name="Ada Lovelace")
    session.add(author)
    await session.commit()
    return author


async def create(client: httpx2.AsyncClient, author: User, **fields: str) -> dict[str, str]:
    body = {"author_id": str(author.id), "title": "Notes", "body": "On the engine", **fields}
    response = await client.post(URL, json=body)
    assert response.status_code == 201, response.text
    post: dict[str, str] = response.json()
    return post


async def test_a_created_post_can_be_read(client: httpx2.AsyncClient, author: User) -> None:
    post = await create(client, author)

    response = await client.get(f"{URL}/{post['id']}")

    assert response.status_code == 200
    assert response.json() == post
    assert post["status"] == "draft"


async def test_a_post_needs_an_author_who_exists(client: httpx2.AsyncClient) -> None:
    body = {"author_id": str(uuid4()), "title": "Notes", "body": ""}

    assert (await client.post(URL, json=body)).status_code == 404


async def test_an_author_with_posts_cannot_be_deleted(
    client: httpx2.AsyncClient, author: User
) -> None:
    await create(client, author)

    assert (await client.delete(f"/api/v1/users/{author.id}")).status_code == 409


async def test_posts_are_listed_by_status(client: httpx2.AsyncClient, author: User) -> None:
    await create(client, author)
    published = await create(client, author, status="published")

    response = await client.get(URL, params={"status": "published"})

    assert response.json() == {"items": [published], "next": None}


async def test_posts_are_listed_by_author(client: httpx2.AsyncClient, author: User) -> None:
    post = await create(client, author)

    for author_id, posts in [(author.id, [post]), (uuid4(), [])]:
        response = await client.get(URL, params={"author_id": str(author_id)})
        assert response.json()["items"] == posts


async def test_a_post_can_be_published(client: httpx2.AsyncClient, author: User) -> None:
    post = await create(client, author)

    response = await client.patch(f"{URL}/{post['id']}", json={"status": "published"})

    assert response.status_code == 200
    assert response.json()["status"] == "published"


async def test_a_status_that_does_not_exist_is_refused(
    client: httpx2.AsyncClient, author: User
) -> None:
    post = await create(client, author)

    response = await client.patch(f"{URL}/{post['id']}", json={"status": "lost"})

    assert response.status_code == 422


async def test_a_deleted_post_is_gone(client: httpx2.AsyncClient, author: User) -> None:
    post = await create(client, author)

    assert (await client.delete(f"{URL}/{post['id']}")).status_code == 204
    assert (await client.get(f"{URL}/{post['id']}")).status_code == 404
