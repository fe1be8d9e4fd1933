import asyncio
from typing import Any
from uuid import uuid4

import httpx2
import pytest

URL = "/api/v1/users"


async def create(client: httpx2.AsyncClient, email: str = "ada@example.com") -> dict[str, Any]:
    response = await client.post(URL, json={"email": email, "full_name": "Ada Lovelace"})
    assert response.status_code == 201, response.text
    user: dict[str, Any] = response.json()
    return user


async def test_a_created_user_can_be_read(client: httpx2.AsyncClient) -> None:
    user = await create(client)

    response = await client.get(f"{URL}/{user['id']}")

    assert response.status_code == 200
    assert response.json() == user
    assert user["is_active"] is True


async def test_an_email_is_taken_in_any_case(client: httpx2.AsyncClient) -> None:
    await create(client, "ada@example.com")

    response = await client.post(URL, json={"email": "Ada@Example.com", "full_name": "Ada"})

    assert response.status_code == 409


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": "ada@example.com"},
        {"email": "nobody", "full_name": "Ada"},
        {"email": "ada@example.com", "full_name": " "},
        {"email": "ada@example.com", "full_name": "A\0da"},
        {"email": "ada@example.com", "full_name": "A\nda"},
        {"email": "ada@example.com", "full_name": "A" * 201},
        {"email": "ada@example.com", "full_name": "Ada", "is_admin": True},
    ],
)
async def test_bad_input_is_refused(client: httpx2.AsyncClient, body: dict[str, object]) -> None:
    assert (await client.post(URL, json=body)).status_code == 422


@pytest.mark.parametrize("body", [b'{"email": NaN}', b'{"\\ud800": "\\ud800"}', b"{"])
async def test_what_is_hardly_json_is_refused_too(client: httpx2.AsyncClient, body: bytes) -> None:
    response = await client.post(URL, content=body, headers={"Content-Type": "application/json"})

    assert response.status_code == 422


async def test_a_refusal_does_not_repeat_what_was_sent(client: httpx2.AsyncClient) -> None:
    response = await client.post(URL, json={"email": "s3cret", "full_name": "Ada"})

    assert response.json()["errors"][0]["loc"] == ["body", "email"]
    assert "s3cret" not in response.text


async def test_an_update_changes_what_it_names(client: httpx2.AsyncClient) -> None:
    user = await create(client)

    response = await client.patch(f"{URL}/{user['id']}", json={"is_active": False})

    assert response.status_code == 200
    assert response.json() == {
        **user,
        "is_active": False,
        "updated_at": response.json()["updated_at"],
    }


async def test_null_is_not_a_value(client: httpx2.AsyncClient) -> None:
    user = await create(client)

    response = await client.patch(f"{URL}/{user['id']}", json={"full_name": None})

    assert response.status_code == 422


@pytest.mark.parametrize("value", [0, "yes"])
async def test_what_only_resembles_a_boolean_is_none(
    client: httpx2.AsyncClient, value: object
) -> None:
    user = await create(client)

    response = await client.patch(f"{URL}/{user['id']}", json={"is_active": value})

    assert response.status_code == 422


async def test_a_deleted_user_is_gone(client: httpx2.AsyncClient) -> None:
    user = await create(client)

    assert (await client.delete(f"{URL}/{user['id']}")).status_code == 204
    assert (await client.get(f"{URL}/{user['id']}")).status_code == 404


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_an_unknown_id_is_not_found(client: httpx2.AsyncClient, method: str) -> None:
    response = await client.request(method, f"{URL}/{uuid4()}", json={})

    assert response.status_code == 404


async def test_pages_hold_every_user_once(client: httpx2.AsyncClient) -> None:
    ids = [(await create(client, f"{number}@example.com"))["id"] for number in range(5)]

    seen, parameters = [], {"limit": "2"}
    while True:
        page = (await client.get(URL, params=parameters)).json()
        seen += [user["id"] for user in page["items"]]
        if page["next"] is None:
            break
        parameters["after"] = page["next"]

    assert seen == ids


@pytest.mark.parametrize("limit", ["-1", "0", "101", "many", ""])
async def test_a_page_has_a_size_within_bounds(client: httpx2.AsyncClient, limit: str) -> None:
    assert (await client.get(URL, params={"limit": limit})).status_code == 422


async def test_an_update_beside_a_deletion_is_no_error(
    committing_client: httpx2.AsyncClient,
) -> None:
    for _ in range(5):
        url = f"{URL}/{(await create(committing_client))['id']}"
        update = {"full_name": "Ada King"}

        responses = await asyncio.gather(
            *(committing_client.patch(url, json=update) for _ in range(2)),
            *(committing_client.delete(url) for _ in range(2)),
        )

        assert {response.status_code for response in responses} <= {200, 204, 404, 409}


async def test_of_two_users_with_one_email_at_once_one_is_made(
    committing_client: httpx2.AsyncClient,
) -> None:
    body = {"email": "ada@example.com", "full_name": "Ada Lovelace"}

    responses = await asyncio.gather(*(committing_client.post(URL, json=body) for _ in range(4)))

    assert sorted(response.status_code for response in responses) == [201, 409, 409, 409]
