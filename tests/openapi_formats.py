"""What Schemathesis writes where the document says `format: email`.

JSON Schema means whatever looks like an address; the service takes those that could get mail, and
so refuses reserved domains such as `.test`, which no schema can tell.
"""

import schemathesis
from hypothesis import strategies as st

schemathesis.openapi.format(
    "email", st.from_regex(r"[a-z][a-z0-9]{0,20}@[a-z]{1,20}\.(com|org)", fullmatch=True)
)
