"""Makes `alembic revision --autogenerate` write the zero-downtime form of a change."""

from slipway.autogenerate.enums import compare_server_default
from slipway.autogenerate.hooks import include_name, process_revision_directives, render_item

__all__ = [
    "compare_server_default",
    "include_name",
    "process_revision_directives",
    "render_item",
]
