"""Log lines of the service and of Alembic, for people or for machines."""

import logging
from typing import Literal

import structlog

LogFormat = Literal["text", "json"]


def configure_logging(level: str, log_format: LogFormat) -> None:
    """Send everything from `level` upwards to stderr; uvicorn's loggers keep their own format.

    As `json`, each line is an object with what `extra` gave it as fields of its own.
    """
    logging.basicConfig(level=level, format="%(levelname)s [%(name)s] %(message)s")
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)  # lists its plugins
    if log_format == "json":
        for handler in logging.getLogger().handlers:
            handler.setFormatter(_JSON)


_JSON = structlog.stdlib.ProcessorFormatter(
    foreign_pre_chain=[
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ],
    processors=[
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.dict_tracebacks,
        structlog.processors.EventRenamer("message"),
        structlog.processors.JSONRenderer(),
    ],
)
