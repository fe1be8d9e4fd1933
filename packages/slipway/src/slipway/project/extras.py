"""Optional dependencies, which some commands need."""

from importlib.util import find_spec

from slipway.project.configuration import ProjectError

# What each extra of this distribution installs.
EXTRAS = {"rehearse": ("asyncpg", "greenlet")}


def require(extra: str) -> None:
    """Check that an extra is installed.

    Raises:
        ProjectError: it is not; the message has the command that installs it.
    """
    missing = [module for module in EXTRAS[extra] if find_spec(module) is None]
    if missing:
        raise ProjectError(
            f"{' and '.join(missing)} missing, which this command needs: "
            f'pip install "alembic-slipway[{extra}]"'
        )
