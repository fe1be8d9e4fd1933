"""The page of each rule, made of the rule's own data.

`slipway guard --explain RULE` prints it; `python -m slipway.rule_pages FOLDER` writes all pages and
their index, which is how docs/rules is made.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from slipway.report import Rule, every_rule, filled

MANUAL = "https://www.postgresql.org/docs/current/"
TITLES: Mapping[str, str] = {
    "datatype-datetime": "Date/Time Types",
    "datatype-json": "JSON Types",
    "datatype-numeric": "Numeric Types",
    "ddl-constraints": "Constraints",
    "ddl-default": "Default Values",
    "ddl-depend": "Dependency Tracking",
    "ddl-generated-columns": "Generated Columns",
    "ddl-identity-columns": "Identity Columns",
    "ddl-partitioning": "Table Partitioning",
    "ddl-priv": "Privileges",
    "explicit-locking": "Explicit Locking",
    "functions-datetime": "Date/Time Functions",
    "mvcc-intro": "Concurrency Control",
    "protocol-flow": "Message Flow",
    "routine-vacuuming": "Routine Vacuuming",
    "runtime-config-client": "Client Connection Defaults",
    "sql-altertable": "ALTER TABLE",
    "sql-altertype": "ALTER TYPE",
    "sql-createindex": "CREATE INDEX",
    "sql-do": "DO",
    "sql-dropindex": "DROP INDEX",
    "sql-droptable": "DROP TABLE",
    "sql-dropview": "DROP VIEW",
    "sql-lock": "LOCK",
    "sql-prepare": "PREPARE",
    "sql-refreshmaterializedview": "REFRESH MATERIALIZED VIEW",
    "sql-reindex": "REINDEX",
    "sql-truncate": "TRUNCATE",
    "tutorial-transactions": "Transactions",
}
INDEX = """\
# Rules

What the commands of Slipway look for. `slipway guard --explain RULE` prints the page of a rule.

A project gives a rule another severity, or switches it off, in pyproject.toml (or in a section
`[slipway.severities]` of alembic.ini):

```toml
[tool.slipway.severities]
trigger = "off"
```

A revision permits what the guard finds by a comment with a reason:

```python
op.drop_index("ix_orders_note", "orders")  # guard: allow[drop-index-not-concurrent] no reads yet
```
"""


def pages() -> dict[str, str]:
    """Return the text of each page by its file's name, the index included."""
    rules = every_rule()
    found = {f"{name}.md": page(by_command) for name, by_command in rules.items()}
    return {**found, "README.md": _index(rules)}


def page(rules: Mapping[str, Rule]) -> str:
    """Return the page of a rule.

    Args:
        rules: the rule by the command that checks it; some have one of the same name.
    """
    name = next(iter(rules.values())).name
    if len(rules) == 1:
        [(command, rule)] = rules.items()
        parts = [f"# {name}", *_sections(command, rule, "##")]
    else:
        parts = [f"# {name}"]
        for command, rule in rules.items():
            parts += [f"## slipway {command}", *_sections(command, rule, "###")]
    return "\n\n".join(parts) + "\n"


def _sections(command: str, rule: Rule, heading: str) -> Iterator[str]:
    notes = [f"Severity: {rule.severity}, from `slipway {command}`."]
    if rule.locks:
        notes.append("Tables in `small-tables` are exempt.")
    if rule.contract:
        notes.append('Permitted in a revision with `phase = "contract"`.')
    yield " ".join(notes)
    fields = rule.fields.items()
    yield f"{heading} What it does\n\nReports: {filled(rule.summary, fields).rstrip('.')}."
    yield f"{heading} Why is this bad?\n\n{rule.why}"
    if rule.example:
        yield f"{heading} Example\n\n{_code(rule.example)}"
    yield f"{heading} Use instead\n\n{_code(filled(rule.instead, fields))}"
    if rule.reference:
        yield f"{heading} References\n\n- {_reference(rule.reference)}"


def _code(text: str) -> str:
    try:
        compile(text, "", "exec", ast.PyCF_ONLY_AST)
    except SyntaxError:
        return f"```text\n{text.strip()}\n```"
    return f"```python\n{text.strip()}\n```"


def _reference(reference: str) -> str:
    if reference.startswith("https:"):
        return f"[Alembic's documentation]({reference})"
    return f"PostgreSQL manual: [{TITLES[reference.partition('.')[0]]}]({MANUAL}{reference})"


def _index(rules: Mapping[str, Mapping[str, Rule]]) -> str:
    commands = dict.fromkeys(command for by_command in rules.values() for command in by_command)
    return "\n".join([INDEX, *(line for command in commands for line in _table(command, rules))])


def _table(command: str, rules: Mapping[str, Mapping[str, Rule]]) -> Iterator[str]:
    yield from (
        f"## slipway {command}",
        "",
        "| rule | severity | reports, for example |",
        "|---|---|---|",
    )
    for name, by_command in sorted(rules.items()):
        if rule := by_command.get(command):
            summary = filled(rule.summary, rule.fields.items()).replace("|", "\\|")
            yield f"| [{name}]({name}.md) | {rule.severity} | {summary} |"
    yield ""


def write(folder: Path) -> None:
    """Write all pages into a folder, and delete those of rules that no longer exist."""
    texts = pages()
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.md"):
        if file.name not in texts:
            file.unlink()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
