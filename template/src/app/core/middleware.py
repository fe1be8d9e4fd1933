"""What stands around all routes, the outermost first."""

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.errors import ServerErrorMiddleware

from app.core.bounds import BoundsMiddleware
from app.core.config import Settings
from app.core.errors import answer_bug
from app.core.headers import SecurityHeadersMiddleware
from app.core.hosts import HostsMiddleware
from app.core.requests import RequestLogMiddleware
from app.core.startup import StartupErrorMiddleware

PROBES = ("/health/live", "/health/ready")
METRICS = "/metrics"
# They come every second, must be answered when the service is full, and by any name of the host.
MONITORING = (*PROBES, METRICS)


def add_middleware(application: FastAPI, settings: Settings) -> None:
    middleware = [
        Middleware(StartupErrorMiddleware),
        Middleware(RequestLogMiddleware, quiet=MONITORING),
        Middleware(SecurityHeadersMiddleware),
    ]
    # Browsers let scripts read only what passes here, so errors must pass here too.
    if settings.CORS_ALLOWED_ORIGINS:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.CORS_ALLOWED_ORIGINS,
                allow_methods=["*"],
                allow_headers=["*"],
                expose_headers=["X-Request-ID"],
            )
        )
    middleware += [
        # Starlette has another one around everything, whose responses would pass none of the above.
        Middleware(ServerErrorMiddleware, handler=answer_bug),
        Middleware(
            BoundsMiddleware,
            body_size=settings.MAX_BODY_SIZE,
            concurrency=settings.MAX_CONCURRENT_REQUESTS,
            timeout=settings.REQUEST_TIMEOUT,
            unbounded=MONITORING,
        ),
    ]
    if settings.ALLOWED_HOSTS:
        hosts = Middleware(HostsMiddleware, allowed=settings.ALLOWED_HOSTS, unnamed=MONITORING)
        middleware.append(hosts)
    application.user_middleware += middleware
