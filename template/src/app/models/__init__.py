"""The tables. A new module in this folder is found by itself, by the service and by Alembic."""

import sys
from importlib import import_module
from importlib.util import find_spec

from app.core.autodiscovery import import_modules
from app.core.db.base import Base

# SQLModel, where it is installed, keeps its tables beside ours: one set of tables, one history.
if find_spec("sqlmodel"):
    import_module("sqlmodel").SQLModel.metadata = Base.metadata

import_modules(sys.modules[__name__])
