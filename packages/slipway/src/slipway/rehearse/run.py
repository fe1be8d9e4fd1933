"""A rehearsal from an empty database to its findings.

The revisions run twice, each time on a copy of a database with rows in it: first alone, where
PostgreSQL can be asked what each statement does; then by themselves, while readers and writers are
at work, where nothing is asked that would change the times.
"""

import time
from collections.abc import Callable, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from slipway.project.configuration import Configuration, ProjectError
from slipway.project.history import History
from slipway.project.source import Source
from slipway.rehearse.database import run_on, url_of
from slipway.rehearse.model import Rehearsal, RehearsalOptions, RehearsalResult, Request
from slipway.rehearse.prepare import Prepared, prepare, split_history
from slipway.rehearse.trace.child import MigrationRun, watch
from slipway.rehearse.trace.findings import failed_upgrade
from slipway.rehearse.trace.round_trip import Traced, trace_all
from slipway.rehearse.traffic.blame import request_findings
from slipway.rehearse.traffic.client import Load, Traffic, TrafficError, traffic
from slipway.report import severe
from slipway.scratch import ScratchServer

# Seconds of traffic before and after the revisions, to compare with.
CALM = 0.7


def stages(revisions: int) -> int:
    """Return how many stages `rehearse` announces."""
    return 2 + 4 * revisions


def rehearse(
    configuration: Configuration,
    history: History,
    selected: Sequence[Source],
    server: ScratchServer,
    options: RehearsalOptions,
    begin: Callable[[str], None],
) -> RehearsalResult:
    """Try revisions on databases of their own.

    Args:
        selected: the revisions; what comes before them is the base, what comes between belongs to
            them.
        begin: called with the name of each stage.

    Raises:
        ProjectError: it could not be tried, which says nothing about the revisions.
    """
    base, new = split_history(history, selected)
    prepared = prepare(configuration, base, new, server, options, begin)
    traced = trace_all(configuration, server.create(prepared.database), new, begin)
    begin("readers and writers")
    load = Load(
        url=url_of(server.create(prepared.database)),
        later=url_of(prepared.later) if prepared.later else "",
        rate=options.rate,
        workers=options.workers,
        columns=traced.columns,
    )
    runs, sent = _upgrade_under_traffic(configuration, load, new, begin)
    rehearsal = _rehearsal(prepared, traced, runs, sent.requests, options.rate)
    findings = [
        *traced.findings,
        *(failed_upgrade(run.failure) for run in runs if run.failure),
        *request_findings(
            rehearsal, processes=options.workers, small_tables=configuration.small_tables
        ),
    ]
    return RehearsalResult(
        rehearsal=rehearsal,
        findings=tuple(severe(findings, configuration.severities)),
        unfilled=prepared.unfilled,
        silent=sent.silent,
    )


def _upgrade_under_traffic(
    configuration: Configuration,
    load: Load,
    new: Sequence[Source],
    begin: Callable[[str], None],
) -> tuple[list[MigrationRun], Traffic]:
    runs: list[MigrationRun] = []
    try:
        with traffic(load) as sent:
            time.sleep(CALM)
            for source in new:
                begin(f"{source.file.name}, under traffic")
                runs.append(watch(configuration, load.url, source.revision))
                if runs[-1].failure:
                    break
            time.sleep(CALM)
    except TrafficError as error:
        raise ProjectError(str(error)) from error
    return runs, sent


def _rehearsal(
    prepared: Prepared,
    traced: Traced,
    runs: Sequence[MigrationRun],
    requests: Sequence[Request],
    rate: float,
) -> Rehearsal:
    return Rehearsal(
        base=prepared.base,
        postgresql=run_on(prepared.database, _version),
        rows=prepared.rows,
        rate=rate,
        lock_timeout=traced.lock_timeout,
        applied=tuple(applied for run in runs for applied in run.applied),
        traced=traced.statements,
        watched=tuple(statement for run in runs for statement in run.statements),
        requests=requests,
        verdict="",
    )


async def _version(connection: AsyncConnection) -> str:
    found = await connection.exec_driver_sql("SHOW server_version")
    return str(found.scalar_one())
