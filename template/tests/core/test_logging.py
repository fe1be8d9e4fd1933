"""Lines of all who log have one form."""

import json
import logging

import pytest
import structlog

from app.core.logging import configure_logging


@pytest.fixture(autouse=True)
def _json() -> None:
    configure_logging("INFO", "json")


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_uvicorn_alembic_and_the_service_log_alike(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["uvicorn.error", "alembic.runtime.migration", "app.anything"]
    for name in names:
        logging.getLogger(name).info("%s of %s", 1, 2)
        structlog.get_logger(name).info("1 of 2")

    logged = lines(capsys)

    assert [line["logger"] for line in logged] == [name for name in names for _ in range(2)]
    assert {tuple(sorted(line)) for line in logged} == {("level", "logger", "message", "timestamp")}
    assert {line["message"] for line in logged} == {"1 of 2"}


def test_what_is_logged_with_extra_becomes_fields(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("app").info("applied", extra={"revision": "1"})

    [line] = lines(capsys)
    assert line["revision"] == "1"


def test_a_level_holds_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("app").debug("hidden")
    structlog.get_logger("app").debug("hidden")

    assert lines(capsys) == []


def test_values_of_local_variables_are_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    secret = "".join(["s3", "cret"])
    try:
        raise RuntimeError
    except RuntimeError:
        logging.getLogger("app").exception("failed")

    [line] = lines(capsys)
    assert "RuntimeError" in str(line["exception"])
    assert secret not in str(line)


def test_uvicorn_logs_no_query_of_a_websocket(capsys: pytest.CaptureFixture[str]) -> None:
    told = logging.getLogger("uvicorn.error")
    told.info('%s - "WebSocket %s" 403', "127.0.0.1:5", "/chat?token=s3cret")

    [line] = lines(capsys)
    assert line["message"] == '127.0.0.1:5 - "WebSocket /chat" 403'
