"""Shows the progress of a run: a line for each revision, and a spinner on a terminal."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from alembic.runtime.migration import MigrationContext
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

log = logging.getLogger(f"alembic.{__name__}")


@contextmanager
def reported(migration: MigrationContext) -> Iterator[None]:
    """Log each revision that is applied or reverted within the block, with its duration."""
    began = monotonic()

    def report(*, step: Any, **_: Any) -> None:
        nonlocal began
        seconds = monotonic() - began
        began = monotonic()
        done = "Applied" if step.is_upgrade else "Reverted"
        if step.is_stamp:
            done = "Noted"
        revision = step.up_revision_id
        log.info(
            "%s %s in %.2f s",
            done,
            revision,
            seconds,
            extra={"revision": revision, "duration": seconds},
        )
        spinner.reset(task)

    # Alembic offers its hook only to `configure()`, which env.py has called by now.
    callbacks = migration.on_version_apply_callbacks
    console = Console(stderr=True)
    columns = SpinnerColumn(), TextColumn("migrating"), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as (
        spinner
    ):
        task = spinner.add_task("migrating", total=None)
        migration.on_version_apply_callbacks = (*callbacks, report)
        try:
            yield
        finally:
            migration.on_version_apply_callbacks = callbacks
