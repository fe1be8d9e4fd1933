"""A PostgreSQL for development and tests: `devdb COMMAND...`, or as a library."""

from slipway.devdb.libpq import libpq_environment
from slipway.devdb.server import DevdbError, temporary_server

__all__ = ["DevdbError", "libpq_environment", "temporary_server"]
