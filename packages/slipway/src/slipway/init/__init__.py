"""Writes what a project needs to migrate with Slipway: env.py, script.py.mako and settings."""
