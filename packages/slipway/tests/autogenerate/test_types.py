"""Types of columns as migrations name them."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate.api import AutogenContext
from alembic.runtime.migration import MigrationContext

from slipway.autogenerate import render_item

TYPES = """
import sqlalchemy as sa

class Cents(sa.TypeDecorator):
    impl = sa.Numeric(10, 2)
    cache_ok = True
"""


@pytest.fixture
def context() -> AutogenContext:
    return AutogenContext(MigrationContext.configure(dialect_name="postgresql"), autogenerate=False)


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    known = set(sys.modules)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    yield
    for name in set(sys.modules) - known:
        del sys.modules[name]


def cents(folder: Path, module: str) -> Any:
    """A type of a module in this folder, which is on the path."""
    file = folder / f"{module.replace('.', '/')}.py"
    file.parent.mkdir(parents=True)
    file.write_text(TYPES)
    sys.path.insert(0, str(folder))
    return importlib.import_module(module).Cents()


@pytest.mark.parametrize("module", ["shop_types.money", "shop_spaces.a.b.money"])
@pytest.mark.parametrize("place", ["src", "venv/src/shop", "site_packages"])
@pytest.mark.usefixtures("modules")
def test_a_type_of_the_application_becomes_the_type_beneath(
    tmp_path: Path, context: AutogenContext, module: str, place: str
) -> None:
    """Whatever its package is called, also in a namespace package (here all have no __init__)."""
    rendered = render_item("type", cents(tmp_path / place, module), context)

    assert rendered == "sa.Numeric(precision=10, scale=2)"
    assert not context.imports


@pytest.mark.parametrize("folder", ["site-packages", "dist-packages"])
@pytest.mark.usefixtures("modules")
def test_a_type_of_a_library_is_imported(
    tmp_path: Path, context: AutogenContext, folder: str
) -> None:
    place = tmp_path / "lib/python3.13" / folder
    rendered = render_item("type", cents(place, "vendor_types.money"), context)

    assert rendered is False
    assert context.imports == {"import vendor_types.money"}


def test_a_type_of_sqlalchemy_is_left_to_alembic(context: AutogenContext) -> None:
    assert render_item("type", sa.Integer(), context) is False
    assert render_item("server_default", sa.text("1"), context) is False
    assert not context.imports
