"""Tries the version that is running on the schema to come: in service, and with its tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway.overlap.checkout import Checkout, checkout, last_line
from slipway.overlap.rollout import Rollout, upgrade, upgrade_under_service
from slipway.overlap.suite import Suite, copies_schema, run_tests
from slipway.project.configuration import Configuration, ProjectError
from slipway.project.source import Source
from slipway.scratch import ScratchServer, environment


@dataclass(frozen=True)
class Trial:
    """How the version fared; `suite` is None where its tests were not run.

    Attributes:
        version: The beginning of its commit.
        has_tests: Whether it has tests that can be given a schema.
    """

    version: str
    rollout: Rollout
    suite: Suite | None
    has_tests: bool


def try_version(
    server: ScratchServer,
    top: Path,
    configuration: Configuration,
    commit: str,
    new: Sequence[Source],
) -> Trial:
    """Try the version at `commit` on the revisions that came after it.

    Args:
        top: the folder of the repository.
        new: the revisions, in their order.

    Raises:
        ProjectError: it could not be tried.
    """
    with checkout(top, configuration, commit) as old:
        return _try(server, old, configuration, new)


def _try(
    server: ScratchServer, old: Checkout, configuration: Configuration, new: Sequence[Source]
) -> Trial:
    before = server.create()
    done = old.alembic("upgrade", "heads", variables=environment(before.url, old.folder))
    if done.returncode:
        raise ProjectError(f"the migrations of {old.commit[:12]} fail: {last_line(done)}")
    after = server.create(before)
    # Where the revisions stumble over rows, they may still make a schema of none.
    is_made = not upgrade(configuration, after, "heads")
    rollout = upgrade_under_service(
        old, server.create(before), configuration, new, later=after if is_made else None
    )
    command = configuration.overlap.test
    has_tests, suite = bool(command) or copies_schema(old), None
    if has_tests and is_made:
        suite = run_tests(old, server, after, before, command)
    return Trial(old.commit[:12], rollout, suite, has_tests)
