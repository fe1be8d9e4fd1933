"""Hooks of Schemathesis: what it writes where the document names a format."""

import os

import schemathesis
from hypothesis import strategies as st

# JSON Schema means whatever looks like an address; the service takes those that could get mail, and
# so refuses reserved domains such as `.test`, which no schema can tell.
schemathesis.openapi.format(
    "email", st.from_regex(r"[a-z][a-z0-9]{0,20}@[a-z]{1,20}\.(com|org)", fullmatch=True)
)

# Random ids alone would meet nothing but 404.
schemathesis.openapi.format(
    "uuid", st.sampled_from(os.environ["KNOWN_IDS"].split(",")) | st.uuids().map(str)
)
