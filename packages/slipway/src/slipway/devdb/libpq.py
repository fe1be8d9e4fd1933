"""What a database URL says, in the environment variables that psql, pg_dump and libpq read."""

import re
from urllib.parse import unquote

PARAMETERS = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
}
SSL_MODES = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}


def libpq_environment(url: str) -> dict[str, str]:
    """The variables for `url`; what the URL leaves out is left out, but for the port.

    A password may be percent-encoded or raw: the last `@` before a `?` ends it. Raises ValueError
    for a URL that is not PostgreSQL's; the message never quotes the URL.
    """
    match = re.match(r"postgres(?:ql)?(?:\+\w+)?://([^?]*)(?:\?(.*))?", url, re.DOTALL)
    if not match:
        raise ValueError("is not a PostgreSQL URL, which begins with postgresql://")
    if "@" in (match[2] or "") and "@" not in match[1]:
        raise ValueError("has a ? in its password: write it as %3F")
    userinfo, _, location = match[1].rpartition("@")
    user, _, password = userinfo.partition(":")
    address, _, database = location.partition("/")
    host, port = address, ""
    if re.search(r":\d*$", address):
        host, _, port = address.rpartition(":")
    parts = {"user": user, "password": password, "host": host.strip("[]"), "port": port}
    parts["dbname"] = database
    parts |= dict(part.partition("=")[::2] for part in (match[2] or "").split("&"))
    if parts.get("ssl") in SSL_MODES:  # asyncpg's name for it in SQLAlchemy's URLs
        parts.setdefault("sslmode", parts["ssl"])
    # Without a port the URL means 5432, whatever PGPORT says in the caller's environment.
    parts["port"] = parts["port"] or "5432"
    given = [(name, parts[key]) for key, name in PARAMETERS.items() if parts.get(key)]
    environment = {name: unquote(value, errors="surrogateescape") for name, value in given}
    if "\0" in "".join(environment.values()):
        raise ValueError("holds a zero byte, which no environment variable can")
    return environment
