import pytest

from tests.migrator.backfill.service import Service
from tests.migrator.history import History


@pytest.fixture
def service(history: History) -> Service:
    return Service(history)
