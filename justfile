# Commands for working on the template: `uv run just` lists them.

set positional-arguments

# Without compiled files every start of Python takes several times as long.
unexport PYTHONDONTWRITEBYTECODE

# A separate environment for the library's representative tests.
representative := "uv run --no-project --isolated --with-requirements packages/slipway/tests/requirements.txt"

[private]
default:
    @just --list --unsorted

# Render a service from this folder into .demo and serve it: just serve [--port 8001]
serve *arguments:
    uv run copier copy --quiet --defaults --overwrite --vcs-ref HEAD . .demo
    cd .demo && uv run just dev "$@"

# Run the fast tests: just test [-k name]
test *arguments:
    uv run pytest --numprocesses 4 --dist worksteal "$@"

# Run what takes minutes, or a Docker engine
test-slow *arguments:
    uv run pytest --numprocesses 4 --dist worksteal -m "(slow or docker) and not timing" --durations 40 "$@"

# Run what measures how long requests wait, with fewer tests at once
test-timing *arguments:
    uv run pytest --numprocesses 2 --dist worksteal -m timing "$@"

# Run each benchmark for a moment: they work, whatever they measure
test-benchmarks *arguments:
    uv run pytest tests/test_benchmarks.py -m benchmark "$@"

# Run the library's representative tests on another PostgreSQL: just test-postgresql 16
test-postgresql version *arguments:
    export POSTGRESQL_VERSION="$1"; shift; uv run pytest packages/slipway/tests -m representative --numprocesses 4 --dist loadfile "$@"

# Run them with another Python and the newest versions of all that the library depends on: just test-python 3.13
test-python version *arguments:
    python="$1"; shift; {{ representative }} --python "$python" pytest packages/slipway/tests -m representative --numprocesses 4 --dist loadfile "$@"

# Run them with the lowest versions of all that the library depends on
test-lowest *arguments:
    {{ representative }} --resolution lowest-direct --python 3.11 pytest packages/slipway/tests -m representative --numprocesses 4 --dist loadfile "$@"

# Measure, and write down what was found: just bench [throughput guard …] [--quick]
bench *arguments:
    uv run python -m benchmarks "$@"

# Look for mistakes: style and types
lint:
    uv run ruff check
    uv run ruff format --check
    uv run mypy

# Mend the style
format:
    -uv run ruff check --fix
    uv run ruff format

# Build the library's wheel into template/vendor, for the last commit of a piece of work
wheel:
    uv run python -m packages.vendored_wheel
