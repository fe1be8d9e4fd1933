"""Imports all modules of a package, so that a new file needs no second edit elsewhere."""

import pkgutil
from importlib import import_module
from types import ModuleType


def import_modules(package: ModuleType) -> list[ModuleType]:
    """Import everything below `package`, in the order of names.

    Raises:
        ImportError: a module failed; the message has its name and the reason.
    """
    modules = []
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        try:
            modules.append(import_module(found.name))
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise ImportError(f"{found.name} cannot be imported: {reason}") from error
    return modules
