"""Tries migrations on a scratch database with rows in it, while readers and writers are at work."""
