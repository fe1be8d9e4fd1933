"""Every error is a problem as of RFC 9457, and none tells more than it must."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from sqlalchemy import URL, text

from app.core.application import create_application
from app.core.config import Settings
from app.core.db.session import SessionDep
from app.core.logging import LogFormat, configure_logging
from tests.core.http.listening import listening

router = APIRouter()


class Row(BaseModel):
    number: int


@router.post("/rows", status_code=201)
async def create_row(row: Row, session: SessionDep) -> None:
    await session.execute(text("INSERT INTO rows VALUES (:number)"), {"number": row.number})


@router.delete("/rows")
async def delete_rows() -> None: ...


VIOLATIONS = {
    "one": "INSERT INTO rows VALUES (1), (1)",
    "positive": "INSERT INTO rows VALUES (-1)",
    "apart": "INSERT INTO bookings VALUES (1), (1)",
    "parent": "INSERT INTO children VALUES (7)",
    "kept": "WITH parent AS (INSERT INTO parents VALUES (1)) INSERT INTO keepers VALUES (1)",
    "in_the_end": "INSERT INTO late VALUES (1), (1)",
}
TABLES = """
CREATE TABLE rows (number int CONSTRAINT one UNIQUE CONSTRAINT positive CHECK (number > 0));
CREATE TABLE bookings (room int, CONSTRAINT apart EXCLUDE USING btree (room WITH =));
CREATE TABLE parents (id int PRIMARY KEY);
CREATE TABLE children (parent int CONSTRAINT parent REFERENCES parents);
CREATE TABLE keepers (parent int CONSTRAINT kept REFERENCES parents ON DELETE RESTRICT);
CREATE TABLE late (number int CONSTRAINT in_the_end UNIQUE DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE notes (text text, place int NOT NULL)
"""


@router.post("/given-up/{sqlstate}")
async def give_up(sqlstate: str, session: SessionDep) -> None:
    raised = f"DO $$ BEGIN RAISE EXCEPTION 'given up' USING ERRCODE = '{sqlstate}'; END $$"
    await session.execute(text(raised))


@router.post("/violations/{constraint}")
async def violate(constraint: str, session: SessionDep) -> None:
    await session.execute(text(VIOLATIONS[constraint]))
    if constraint == "kept":
        await session.execute(text("DELETE FROM parents"))


class Note(BaseModel):
    text: str


@router.post("/null")
async def write_null(note: Note, session: SessionDep) -> None:
    await session.execute(text("INSERT INTO notes VALUES (:text, NULL)"), note.model_dump())


@router.post("/cast")
async def cast(note: Note, session: SessionDep) -> None:
    await session.execute(text("SELECT CAST(CAST(:text AS text) AS int)"), note.model_dump())


@router.post("/argument")
async def pass_wrong_argument(note: Note, session: SessionDep) -> None:
    await session.execute(text("INSERT INTO rows VALUES (:text)"), note.model_dump())


@router.post("/output", response_model=Row)
async def answer_wrongly(note: Note) -> dict[str, str]:
    return {"number": note.text}


@router.get("/half")
async def answer_half() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"half"
        raise HTTPException(404)

    return StreamingResponse(parts())


@router.post("/lost")
async def lose_the_database(request: Request, session: SessionDep) -> None:
    pid = await session.scalar(text("SELECT pg_backend_pid()"))
    await session.execute(text("INSERT INTO rows VALUES (1)"))
    async with request.app.state.engine.connect() as other:
        await other.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid})


@router.get("/forbidden")
async def refuse() -> None:
    raise HTTPException(403, "Not for you", headers={"X-Reason": "because"})


@router.get("/structured")
async def refuse_with_reasons() -> None:
    raise HTTPException(409, {"reasons": ["late", 7], "retry": None})


@router.get("/bug")
async def fail() -> None:
    raise RuntimeError("s3cret")


@router.get("/slow")
async def be_slow(session: SessionDep) -> None:
    await session.execute(text("SELECT pg_sleep(30)"))


@router.get("/now")
async def answer(session: SessionDep) -> None:
    await session.execute(text("SELECT 1"))


def settings(url: URL, **values: object) -> Settings:
    return Settings.model_validate(
        {"DATABASE_URL": url, "DATABASE_POOL_SIZE": 2, "MAX_BODY_SIZE": 1000, **values}
    )


async def serve(settings: Settings) -> AsyncIterator[FastAPI]:
    application = create_application(router, settings)
    async with application.router.lifespan_context(application):
        yield application


@pytest.fixture
async def application(empty_database_url: URL) -> AsyncIterator[FastAPI]:
    async for application in serve(settings(empty_database_url)):
        async with application.state.engine.begin() as connection:
            for table in TABLES.split(";"):
                await connection.execute(text(table))
        yield application


def client_of(application: FastAPI) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(application, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://testserver")


@pytest.fixture
async def client(application: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(application) as client:
        yield client


def assert_problem(response: httpx2.Response, status: int) -> dict[str, object]:
    problem: dict[str, object] = response.json()
    assert response.status_code == problem["status"] == status
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["title"]
    return problem


async def test_what_is_not_there_or_not_allowed(client: httpx2.AsyncClient) -> None:
    assert_problem(await client.get("/nowhere"), 404)
    for method in ("PUT", "OPTIONS", "TRACE", "NONSENSE"):
        response = await client.request(method, "/rows")
        assert_problem(response, 405)
        assert response.headers["allow"] == "DELETE, POST"
    assert (await client.head("/nowhere")).headers["content-type"] == "application/problem+json"


async def test_an_exception_of_the_application_keeps_its_words_and_headers(
    client: httpx2.AsyncClient,
) -> None:
    response = await client.get("/forbidden")

    assert assert_problem(response, 403)["detail"] == "Not for you"
    assert response.headers["x-reason"] == "because"


async def test_a_structured_detail_arrives_as_json(client: httpx2.AsyncClient) -> None:
    problem = assert_problem(await client.get("/structured"), 409)

    assert problem["detail"] == {"reasons": ["late", 7], "retry": None}


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large(client: httpx2.AsyncClient, chunked: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 100

    content = chunks() if chunked else b" " * 10_000
    response = await client.post(
        "/rows", content=content, headers={"content-type": "application/json"}
    )

    assert_problem(response, 413)


@pytest.mark.parametrize("body", [b'{"number": "s3cret"}', b'{"s3cret', b'"s3cret"'])
async def test_bad_input_names_the_field_and_repeats_nothing(
    client: httpx2.AsyncClient, body: bytes
) -> None:
    response = await client.post(
        "/rows", content=body, headers={"content-type": "application/json"}
    )

    assert assert_problem(response, 422)["errors"]
    assert "s3cret" not in response.text


async def test_a_conflict_names_the_constraint(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/rows", json={"number": 1})).status_code == 201

    assert (
        assert_problem(await client.post("/rows", json={"number": 1}), 409)["constraint"] == "one"
    )


@pytest.mark.parametrize("constraint", VIOLATIONS)
async def test_every_kind_of_constraint_is_named(
    client: httpx2.AsyncClient, constraint: str
) -> None:
    response = await client.post(f"/violations/{constraint}")

    assert assert_problem(response, 409)["constraint"] == constraint


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("path", ["/null", "/cast", "/argument", "/output"])
async def test_a_bug_stands_in_the_log_without_what_was_sent(
    application: FastAPI,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    path: str,
    log_format: LogFormat,
) -> None:
    configure_logging("INFO", log_format)
    caplog.set_level(logging.WARNING, "httpx2")
    async with listening(application) as port, httpx2.AsyncClient() as client:
        response = await client.post(
            f"http://127.0.0.1:{port}{path}?token=s3cret",
            json={"text": "s3cret"},
            headers={"authorization": "s3cret"},
        )

    problem = assert_problem(response, 500)
    assert problem.keys() == {"title", "status", "id"}
    logged = capsys.readouterr().err
    assert "Exception in ASGI application" in logged
    assert str(problem["id"]) in logged
    assert "s3cret" not in logged


async def test_an_error_in_the_middle_of_a_response_cuts_it_off(
    application: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(application) as port, httpx2.AsyncClient() as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.get(f"http://127.0.0.1:{port}/half")

    assert "response already started" in caplog.text


async def test_a_bug_tells_its_id_and_the_log_the_rest(
    client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        response = await client.get("/bug")

    problem = assert_problem(response, 500)
    assert problem.keys() == {"title", "status", "id"}
    assert problem["id"] == response.headers["x-request-id"]
    assert str(problem["id"]) in caplog.text


async def test_after_a_bug_a_proxy_is_told_that_the_connection_ends(
    client: httpx2.AsyncClient,
) -> None:
    assert (await client.get("/bug")).headers["connection"] == "close"


async def test_a_statement_that_takes_too_long_is_no_fault_of_the_client(
    empty_database_url: URL, caplog: pytest.LogCaptureFixture
) -> None:
    async for application in serve(settings(empty_database_url, DATABASE_STATEMENT_TIMEOUT=1)):
        async with client_of(application) as client:
            response = await client.get("/slow")

    assert_problem(response, 503)
    assert "TimeoutError" in caplog.text
    assert response.headers["retry-after"]


async def test_without_a_database(empty_database_url: URL) -> None:
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        nowhere = URL.create(
            "postgresql+asyncpg", host="127.0.0.1", port=taken.getsockname()[1], database="app"
        )
        async for application in serve(settings(nowhere)):
            async with client_of(application) as client:
                assert_problem(await client.get("/now"), 503)


END = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND datname = current_database() AND query ~ :query
"""


async def test_connections_that_the_server_ended_are_replaced_unseen(
    application: FastAPI, client: httpx2.AsyncClient
) -> None:
    await asyncio.gather(*(client.get("/now") for _ in range(2)))
    async with application.state.engine.connect() as connection:
        while (await connection.execute(text(END), {"query": ""})).all():
            await connection.rollback()  # what is seen of others stands still in a transaction

    responses = [await client.get("/now") for _ in range(4)]

    assert [response.status_code for response in responses] == [200] * 4


async def test_a_connection_that_ends_under_a_statement(
    application: FastAPI, client: httpx2.AsyncClient
) -> None:
    request = asyncio.create_task(client.get("/slow"))
    async with application.state.engine.connect() as connection:
        while not (await connection.execute(text(END), {"query": "pg_sleep"})).all():
            await connection.rollback()

    assert_problem(await request, 503)


async def test_a_connection_that_ends_before_the_commit(client: httpx2.AsyncClient) -> None:
    assert_problem(await client.post("/lost"), 503)
    assert (await client.post("/rows", json={"number": 1})).status_code == 201


@pytest.mark.parametrize(
    "sqlstate", ["57014", "55P03", "40001", "40P01", "53100", "53200", "25006"]
)
async def test_what_the_server_gives_up_may_be_tried_again(
    client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture, sqlstate: str
) -> None:
    response = await client.post(f"/given-up/{sqlstate}")

    assert response.status_code == 503
    assert response.headers["retry-after"]
    [warning] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert sqlstate in warning.getMessage()
    assert warning.exc_info is None
