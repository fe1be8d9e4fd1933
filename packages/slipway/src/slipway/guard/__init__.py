"""Says, before a migration runs, what it would lock, rewrite, lose or break; needs no database."""
