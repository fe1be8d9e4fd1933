"""Whatever a migration sends, it is judged, and an advice for it is never missing."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from slipway.guard.judge import _RevisionRun
from slipway.guard.record import RecordedStatement, Recording
from slipway.guard.schema import Schema
from slipway.project.configuration import Configuration
from slipway.project.source import parse

WORDS = (
    "CREATE ALTER DROP TABLE INDEX TYPE VIEW TRIGGER DOMAIN SCHEMA FUNCTION ONLY IF NOT EXISTS ON "
    "t u a b ( ) , ; . ADD COLUMN CONSTRAINT CHECK UNIQUE PRIMARY KEY FOREIGN REFERENCES USING "
    "VALIDATE SET RESET NULL DEFAULT RENAME TO VALUE ATTACH DETACH PARTITION CONCURRENTLY CASCADE "
    "UPDATE DELETE FROM INSERT INTO WHERE WITH AS SELECT MERGE COPY LOCK TRUNCATE CLUSTER VACUUM "
    "FULL REINDEX REFRESH MATERIALIZED SET LOCAL lock_timeout = 0 'x' integer numeric(10,2) json "
    "timestamp serial now() random() GENERATED ALWAYS IDENTITY STORED IS AND OR VALID COMMIT DO"
)
HEADS = ["", "ALTER TABLE t", "ALTER TABLE t ADD", "ALTER TABLE t ADD b", "CREATE TABLE t ( a"]
HEADS += ["ALTER TABLE t ALTER a", "ALTER TYPE t", "CREATE INDEX i ON t", "WITH a AS ("]
TAIL = st.lists(st.sampled_from(WORDS.split()), min_size=1, max_size=12).map(" ".join)
SQL = st.tuples(st.sampled_from(HEADS), TAIL).map(" ".join)
RECORDED = st.builds(
    RecordedStatement,
    sql=SQL,
    lines=st.just((1,)),
    transaction=st.just(1),
    autocommit=st.booleans(),
    existing_type=st.sampled_from(["", "VARCHAR(50)", "NUMERIC(10, 2)", "??"]),
)


@given(st.lists(RECORDED, max_size=6))
def test_any_statements_can_be_judged(statements: list[RecordedStatement]) -> None:
    source = parse(Path("x.py"), b"revision = 'x'\ndef upgrade(): pass\ndef downgrade(): pass\n")
    configuration = Configuration(root=Path(), folders=())
    run = _RevisionRun(source, Recording(statements=tuple(statements)), Schema(), configuration)

    run.go(judging=True)

    for finding in run.findings:
        assert finding.message
        assert finding.instead
        assert finding.line
