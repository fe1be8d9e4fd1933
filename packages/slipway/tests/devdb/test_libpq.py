from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.devdb import libpq_environment

PLAIN = {"PGUSER": "u", "PGPASSWORD": "p", "PGHOST": "h", "PGPORT": "5432", "PGDATABASE": "d"}
TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20
)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_every_usual_scheme_is_understood(scheme: str) -> None:
    assert libpq_environment(f"{scheme}://u:p@h:5432/d") == PLAIN


@pytest.mark.parametrize(
    ("url", "different"),
    [
        ("u:p@h/d", {}),
        ("u:p@h:/d", {}),
        ("u:p@h:6000/d", {"PGPORT": "6000"}),
        ("u:p%40%2F%25%3F%3A@h/d", {"PGPASSWORD": "p@/%?:"}),
        ("u:p@w@h/d", {"PGPASSWORD": "p@w"}),
        ("u:p/w@h/d", {"PGPASSWORD": "p/w"}),
        ("u:p%w@h/d", {"PGPASSWORD": "p%w"}),
        ("u:100%@h/d", {"PGPASSWORD": "100%"}),
        ("u:p:w@h/d", {"PGPASSWORD": "p:w"}),
        ("u:p#w+@h/d", {"PGPASSWORD": "p#w+"}),
        ("u:@/@:@h:5432/d", {"PGPASSWORD": "@/@:"}),
        ("u%40corp:p@h/d", {"PGUSER": "u@corp"}),
        ("u:p@[::1]:6000/d", {"PGHOST": "::1", "PGPORT": "6000"}),
        ("u:p@[::1]/d", {"PGHOST": "::1"}),
        ("u:p@/d?host=/a%20b&port=6000", {"PGHOST": "/a b", "PGPORT": "6000"}),
        ("u:p@h/d?sslmode=require", {"PGSSLMODE": "require"}),
        ("u:p@h/d?ssl=verify-full", {"PGSSLMODE": "verify-full"}),
        ("u:p@h/d?sslrootcert=/a", {"PGSSLROOTCERT": "/a"}),
        ("u:p@h/d?ssl=true", {}),
        ("u:p@h/d?application_name=me@home", {}),
        ("h/d?user=u&password=p", {}),
    ],
)  # fmt: skip
def test_parts_of_a_url_become_variables(url: str, different: dict[str, str]) -> None:
    assert libpq_environment(f"postgresql://{url}") == PLAIN | different


def test_what_a_url_leaves_out_is_left_out() -> None:
    assert libpq_environment("postgresql://") == {"PGPORT": "5432"}


@given(user=TEXT, password=TEXT, database=TEXT)
def test_encoded_parts_come_back_as_they_were(user: str, password: str, database: str) -> None:
    url = f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@h/{quote(database)}"
    found = libpq_environment(url)
    assert (found["PGUSER"], found["PGPASSWORD"]) == (user, password)
    assert found["PGDATABASE"] == database


@given(password=TEXT.filter(lambda text: not set("%?") & set(text)))
def test_a_raw_password_comes_back_as_it_was(password: str) -> None:
    assert libpq_environment(f"postgresql://u:{password}@h/d") == PLAIN | {"PGPASSWORD": password}


@pytest.mark.parametrize("url", ["mysql://u:secret@h/d", "secret", "postgresql://u:secret%00@h/d"])
def test_what_is_no_usable_url_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"^(is not a PostgreSQL URL|holds a zero byte)") as error:
        libpq_environment(url)
    assert "secret" not in str(error.value)
