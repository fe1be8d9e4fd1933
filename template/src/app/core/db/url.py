"""Database URLs as people and hosting services write them."""

from urllib.parse import quote

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

SCHEMES = ("postgresql+asyncpg", "postgresql", "postgres")
PARAMETERS = ("host", "port", "ssl", "target_session_attrs", "prepared_statement_cache_size")
# libpq spells TLS as `sslmode`, asyncpg as `ssl`; asyncpg knows no channel binding.
LIBPQ_PARAMETERS = ("sslmode", "channel_binding")
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def parse_database_url(value: object) -> URL:
    """Turn a PostgreSQL URL of any accepted scheme into its asyncpg form.

    Reserved characters in the password may be percent-encoded or, as generated passwords often
    are, left as they are: the last `@` before the host ends the password.

    Raises:
        ValueError: not a PostgreSQL URL that asyncpg can use. The message never holds the value.
    """
    if isinstance(value, URL):
        return value
    scheme, separator, rest = str(value).strip().partition("://")
    if not separator or scheme not in SCHEMES:
        raise ValueError("must start with postgresql://, postgres:// or postgresql+asyncpg://")
    address, question_mark, query = rest.partition("?")
    if "@" in query and "@" not in address:
        raise ValueError("has a ? in its password: write it as %3F")
    credentials, at, location = address.rpartition("@")
    credentials = quote(credentials, safe=":%")
    try:
        url = make_url(f"postgresql+asyncpg://{credentials}{at}{location}{question_mark}{query}")
    except (ArgumentError, ValueError):
        raise ValueError("must look like postgresql://user:password@host:5432/database") from None
    if not 0 < (url.port or 5432) < 65536:
        raise ValueError("must have a port from 1 to 65535")
    if not url.database:
        raise ValueError("must name a database: postgresql://user:password@host:5432/database")
    return _with_asyncpg_parameters(url)


def _with_asyncpg_parameters(url: URL) -> URL:
    unknown = [name for name in url.query if name not in PARAMETERS + LIBPQ_PARAMETERS]
    if unknown:
        raise ValueError(f"has parameters that asyncpg does not take: {', '.join(unknown)}")
    for name in ("port", "prepared_statement_cache_size"):
        if name in url.query and not str(url.query[name]).isdecimal():
            raise ValueError(f"must have a number as its {name}")
    sslmode = url.query.get("sslmode", url.query.get("ssl"))
    if sslmode and sslmode not in SSL_MODES:
        raise ValueError(f"must have one of these as its sslmode: {', '.join(SSL_MODES)}")
    url = url.difference_update_query(LIBPQ_PARAMETERS)
    return url.update_query_dict({"ssl": sslmode}) if sslmode else url
