"""The service, for an ASGI server: `app.main:app`."""

from app import models  # noqa: F401  a broken model must stop the start, not a request
from app.api.router import router
from app.core.application import create_application
from app.core.config import load_settings

app = create_application(router, load_settings())
