"""Errors that stop the start of the service."""


class StartupError(Exception):
    """The service cannot start; the message is one line that says why and what to do."""
