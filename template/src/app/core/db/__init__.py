"""The database: its URL, engine, sessions, and what models are made of."""
