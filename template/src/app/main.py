"""The service, for an ASGI server: `app.main:app`."""

import gc

from app import models  # noqa: F401  a broken model must stop the start, not a request
from app.api.router import router
from app.core.application import create_application
from app.core.config import load_settings

app = create_application(router, load_settings())

# The garbage collector took a tenth of the time under load. Objects that exist by now live as long
# as the process, and those of a request end with it: scanning either is wasted.
gc.collect()
gc.freeze()
gc.set_threshold(50_000)
