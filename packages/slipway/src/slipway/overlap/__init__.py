"""Holds the version that is running against the schema to come: old code on the new schema."""
