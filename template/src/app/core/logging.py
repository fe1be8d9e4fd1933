"""Log lines of the service, uvicorn and Alembic in one format, for people or for machines."""

import logging
import re
import sys
from typing import Literal, TextIO

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor

LogFormat = Literal["text", "json"]

QUERY = re.compile(r'("WebSocket [^?"]*)\?[^"]*')

# For all lines, from structlog and from the standard library.
ALWAYS: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
]
JSON: list[Processor] = [
    # Without the values of local variables, which structlog shows by default.
    structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
    structlog.processors.EventRenamer("message"),
    structlog.processors.JSONRenderer(),
]


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to the current `sys.stderr`, which tests replace."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        pass


_HANDLER = _StderrHandler()


def configure_logging(level: str, log_format: LogFormat) -> None:
    """Send everything from `level` upwards to stderr; may be called again with other arguments.

    As `json`, each line is an object with the fields of `extra`; as `text`, it is for people, in
    colours on a terminal.
    """
    is_json = log_format == "json"
    always: list[Processor] = [
        *ALWAYS,
        structlog.processors.TimeStamper(fmt="iso" if is_json else "%H:%M:%S", utc=is_json),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *always,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    text = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    _HANDLER.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*always, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _without_doubles,
                _without_query,
                *(JSON if is_json else [text]),
            ],
        )
    )
    root = logging.getLogger()
    root.setLevel(level)
    root.addHandler(_HANDLER)
    for name in ("alembic.runtime.plugins", "watchfiles.main"):  # lists that nobody reads
        logging.getLogger(name).setLevel(logging.WARNING)
    _take_over_uvicorn()


def _without_doubles(_: object, __: str, line: EventDict) -> EventDict:
    """Drop copies of the message: uvicorn's coloured one, and that of other handlers (pytest)."""
    for name in ("color_message", "message"):
        line.pop(name, None)
    return line


def _without_query(_: object, __: str, line: EventDict) -> EventDict:
    """Drop the query, which may hold secrets, from uvicorn's lines about websockets."""
    if line["logger"] == "uvicorn.error":
        line["event"] = QUERY.sub(r"\1", line["event"])
    return line


def _take_over_uvicorn() -> None:
    """Send uvicorn's lines to our handler, without its access log: RequestLogMiddleware has one."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = name != "uvicorn.access"
