"""Backfills: `just backfill NAME` runs the one in NAME.py; docs/migrations.md, "Fill many rows"."""
