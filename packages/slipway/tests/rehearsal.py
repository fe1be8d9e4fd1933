"""One model change from its models to its end, on tables with rows, while a service works on them.

Used by the tests and by the benchmark, which differ in what they make of the outcome.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import psycopg
import sqlalchemy as sa

from packages.slipway.tests.changes import Change
from packages.slipway.tests.modelled import FORMS, Form, ModelledHistory, schema
from packages.slipway.tests.rows import load, seed
from packages.slipway.tests.traffic import CONTROL, Request, Service, slow_client, traffic

LOCK_TIMEOUT = 0.3
# The slow client outlasts several attempts, and any request that waits for one of them only.
SLOW = 2.0


@dataclass(frozen=True)
class Outcome:
    code: int
    printed: str
    requests: list[Request]

    @cached_property
    def service(self) -> list[Request]:
        return [request for request in self.requests if request.table != CONTROL]

    @property
    def failed(self) -> list[Request]:
        return [r for r in self.service if r.error and not r.is_stale_plan]

    @property
    def stale_plans(self) -> list[Request]:
        return [request for request in self.service if request.is_stale_plan]

    @property
    def slowest(self) -> Request | None:
        return max(self.service, key=lambda request: request.seconds, default=None)

    @property
    def noise(self) -> float:
        """The longest wait of a request that touches no table."""
        return max(r.seconds for r in self.requests if r.table == CONTROL)


@contextmanager
def database(
    server: str, folder: Path, form: Form = FORMS[0], *, stock: bool = False
) -> Iterator[ModelledHistory]:
    with _database(server, "changes") as url:
        yield ModelledHistory(folder, url, form=form, stock=stock)


def described(server: str, models: str, form: Form = FORMS[0]) -> set[str]:
    """The schema that models describe, as `create_all` makes it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        _database(server, "described") as url,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        metadata = load(models, Path(folder), convention=form.convention)
        engine = sa.create_engine("postgresql+psycopg://", creator=lambda: connection)
        metadata.create_all(engine)
        return schema(url)


@contextmanager
def _database(server: str, name: str) -> Iterator[str]:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        url = server.replace("/postgres?", f"/{name}?")
        try:
            with psycopg.connect(url, autocommit=True) as inside:
                inside.execute("CREATE SCHEMA audit")
            yield url
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def prepare(history: ModelledHistory, change: Change, count: int) -> Service:
    """A database with the tables as they are before the change, and rows in them."""
    service = Service(
        history.url, change.before, change.after, change.values, count, change.kind == "contract"
    )
    history.models(change.before)
    code, printed = history.run(["revision", "--autogenerate", "-m", "before"], ["upgrade", "head"])
    assert code == 0, printed
    rows = service.rows()
    seed(history.url, replace(rows, values={**rows.values, **change.seeded}))
    return service


def upgrade_under_load(history: ModelledHistory, service: Service) -> Outcome:
    with traffic(service) as requests, slow_client(history.url, service.rows(), SLOW):
        code, printed = history.alembic(LOCK_TIMEOUT=str(LOCK_TIMEOUT), ATTEMPTS="12")
    return Outcome(code, printed, requests)
