"""Starts the traffic, readers and writers in a process of their own, and collects its requests."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from slipway.process import Child, environment, json_lines
from slipway.rehearse.model import Request

# For the end of what is being sent, in seconds.
TO_END = 60


class TrafficError(Exception):
    """The traffic did not start or end; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What to send: `rate` requests per second to each table, by `workers` of them, half of which
    read.

    With `columns`, only these tables (by schema and name) and columns of them are touched: what a
    version of the service knows from which a later revision takes the rest. A table that cannot be
    written without another column is read only. `later` is the URL of a database that has the
    schema to come: what is written meets its checks too.
    """

    url: str
    later: str = ""
    rate: float = 20
    workers: int = 2
    columns: Mapping[str, Mapping[str, Sequence[str]]] | None = None


@dataclass
class Traffic:
    """Requests since the traffic ran, complete once the block around it has ended.

    `sent` is how many there were by table and kind; of very many, `requests` has an even share.
    `silent` says which tables do not get all kinds of them, and why.
    """

    requests: list[Request] = field(default_factory=list)
    sent: dict[tuple[str, str], int] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)


@contextmanager
def traffic(load: Load) -> Iterator[Traffic]:
    """Run readers and writers in a process of their own until the block ends.

    Raises:
        TrafficError: it does not start, or does not end.
    """
    found = Traffic()
    command = [sys.executable, "-m", "slipway.rehearse.traffic.worker"]
    with json_lines(command, env=environment(search_path=sys.path)) as child:
        child.send(asdict(load))
        started = _receive(child, "start", None)
        if "silent" not in started:
            raise TrafficError(f"The traffic did not start: {started['error']}")
        found.silent |= started["silent"]
        yield found
        child.close_input()
        while "sent" not in (ended := _receive(child, "end", TO_END)):
            found.requests += [_request(fields) for fields in ended["requests"]]
        found.sent |= {(table, kind): number for table, kind, number in ended["sent"]}


def _receive(child: Child, step: str, seconds: float | None) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", child.receive(seconds))
    except TimeoutError as late:
        raise TrafficError(f"The traffic did not {step} in {seconds:g} s") from late
    except EOFError as died:
        why = child.last_line() or f"exit code {child.exit_code()}"
        raise TrafficError(f"The traffic did not {step}: {why}") from died


def _request(fields: Sequence[Any]) -> Request:
    table, kind, started, seconds, error = fields
    return Request(table=table, kind=kind, started=started, seconds=seconds, error=error)
