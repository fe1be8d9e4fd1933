"""What a project says of its revisions: its configuration, their Python, and git."""
