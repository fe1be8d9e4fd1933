"""Runs migrations: one runner at a time, with short locks and retries, on any driver."""
