"""The lexer takes any text, and what is quoted never becomes a statement."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.guard.sql.lexer import tokens
from slipway.guard.sql.parser import parse

PIECES = st.sampled_from(
    [
        *("'", '"', "$$", "$a$", "$1", "/*", "*/", "--", "\n", "\\", "E'", "U&'", 'u&"', "b'", ";"),
        *("(", ")", "[", ",", ".", "::", " ", "DROP TABLE", "é", "x1", "1.5e", "0", ":a", "END"),
        *("WITH", "UPDATE", "ALTER TABLE", "ADD", "CREATE INDEX", "ON", "COLUMN", "DEFAULT"),
        *("BEGIN ATOMIC", "CHECK", "REFERENCES", "GENERATED", "NOT", "NULL", "CONSTRAINT"),
    ]
)
SQL = st.one_of(st.text(), st.lists(PIECES).map("".join), st.lists(PIECES).map(" ".join))
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(SQL)
def test_the_tokens_of_any_text_are_that_text(sql: str) -> None:
    assert "".join(token.text for token in tokens(sql)) == sql


@given(SQL)
def test_any_text_can_be_parsed(sql: str) -> None:
    parse(sql)


@given(TEXT)
def test_a_string_is_one_token_with_its_value(value: str) -> None:
    quoted = "'" + value.replace("'", "''") + "'"
    [token] = tokens(quoted)
    assert (token.kind, token.value) == ("string", value)


@given(TEXT)
def test_an_escape_string_is_one_token(value: str) -> None:
    quoted = "E'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    assert [token.kind for token in tokens(quoted)] == ["string"]


@given(TEXT.filter(bool))
def test_a_quoted_name_is_one_token_with_its_name(name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    [token] = tokens(quoted)
    assert (token.kind, token.name, token.key) == ("quoted", name, "")


@given(TEXT.filter(lambda text: "$a$" not in text and not text.endswith("$a")))
def test_a_dollar_quote_is_one_token(body: str) -> None:
    assert [token.kind for token in tokens(f"$a${body}$a$")] == ["string"]


@given(st.recursive(st.just("DROP;"), lambda inner: inner.map("/* {} */".format), max_leaves=20))
def test_comments_nest(inner: str) -> None:
    assert [token.kind for token in tokens(f"/* {inner} */")] == ["comment"]


HIDDEN = [
    "'DROP TABLE t'",
    "E'\\' DROP TABLE t'",
    "U&'\\0041 DROP TABLE t'",
    "$$ DROP TABLE t; $$",
    "$fn$ $$ DROP TABLE t $$ $fn$",
    '"DROP TABLE t"',
    "1 -- ; DROP TABLE t",
    "1 /* ; /* nested */ DROP TABLE t */",
    "'unclosed; DROP TABLE t",
    "$x$ unclosed; DROP TABLE t",
    "1 /* unclosed; DROP TABLE t",
]


@pytest.mark.parametrize("expression", HIDDEN)
def test_what_is_quoted_or_a_comment_is_no_statement(expression: str) -> None:
    assert [statement.kind for statement in parse(f"SELECT {expression}")] == ["SELECT"]


SHOWN = [
    "'it''s'; DROP TABLE t",
    "'\\'; DROP TABLE t",  # a backslash means nothing in an ordinary string
    "$1; DROP TABLE t",
    "a$b$c; DROP TABLE t",  # a dollar sign within a name
    "1 -- comment\n; DROP TABLE t",
    "/* a */ 1; /* b */ DROP /* c */ TABLE t",
]


@pytest.mark.parametrize("sql", SHOWN)
def test_what_is_not_quoted_is_a_statement(sql: str) -> None:
    assert [statement.kind for statement in parse(f"SELECT {sql}")] == ["SELECT", "DROP TABLE"]


@pytest.mark.parametrize(
    "piece", ["'a", '"', "/*", "$a$", "(", "E'\\", "((a) ", "''''", "-- \n", "$", "1e"]
)
def test_the_time_grows_with_the_length(piece: str) -> None:
    began = time.process_time()
    for _ in tokens(piece * 100_000):
        pass
    assert time.process_time() - began < 2
