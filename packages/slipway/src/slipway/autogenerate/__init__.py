"""Makes `alembic revision --autogenerate` write the zero-downtime form of a change."""

from slipway.autogenerate.hooks import include_name, process_revision_directives, render_item

__all__ = [
    "include_name",
    "process_revision_directives",
    "render_item",
]
