"""Log lines of the service and of Alembic."""

import logging


def configure_logging(level: str) -> None:
    """Send everything from `level` upwards to stderr; uvicorn's loggers keep their own format."""
    logging.basicConfig(level=level, format="%(levelname)s [%(name)s] %(message)s")
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)  # lists its plugins
