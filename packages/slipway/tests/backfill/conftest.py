import pytest

from packages.slipway.tests.backfill.service import Service
from packages.slipway.tests.history import History


@pytest.fixture
def service(history: History) -> Service:
    return Service(history)
