"""The service, for an ASGI server: `app.main:app`."""

import gc

from app import models  # noqa: F401  a broken model must stop the start, not a request
from app.api.router import router
from app.core.application import create_application
from app.core.config import load_settings

app = create_application(router, load_settings())

# What there is by now stays. The garbage collector would look through all of it again and again,
# and stop every request for a tenth of a second meanwhile.
gc.collect()
gc.freeze()
