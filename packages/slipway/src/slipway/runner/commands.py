"""What the Alembic command that runs env.py does with the database."""

from enum import Enum

from alembic.runtime.migration import MigrationContext

from slipway.errors import MigrationError


class Command(Enum):
    """What a command does with the database."""

    UPGRADE = "upgrade"
    CHANGE = "change"  # downgrade and stamp
    COMPARE = "compare"  # with the models
    READ = "read"


# Commands pass their work as a function of this name, and nothing else tells them apart.
# test_commands.py compares this with the names in `alembic.command`.
ALEMBIC = {
    "upgrade": Command.UPGRADE,
    "downgrade": Command.CHANGE,
    "do_stamp": Command.CHANGE,
    "do_ensure_version": Command.CHANGE,
    "retrieve_migrations": Command.COMPARE,  # revision and check
    "show_current": Command.READ,  # history --indicate-current
    "_display_current_history": Command.READ,  # history -r current:
    "display_version": Command.READ,  # current
    "edit_current": Command.READ,  # edit current
    "nothing": Command.READ,  # merge
}
SLIPWAY = {
    "slipway_command": Command.READ,  # it has locks and transactions of its own
    "look": Command.READ,
}


def current(migration: MigrationContext) -> Command:
    """Tell which command runs env.py.

    Raises:
        MigrationError: it is none that is known here, so it is unknown whether it needs the lock.
    """
    name = migration.opts["fn"].__name__
    command = (ALEMBIC | SLIPWAY).get(name)
    if command is None:
        raise MigrationError(
            f"Slipway does not know the Alembic command whose work is {name}(), and whether it may "
            "run beside another one: use a version of Slipway that supports this version of Alembic"
        )
    # `alembic revision` without --autogenerate, where env.py is run because of
    # `revision_environment`.
    revision = migration.opts.get("revision_context")
    if command is Command.COMPARE and revision and not revision.command_args["autogenerate"]:
        return Command.READ
    return command
