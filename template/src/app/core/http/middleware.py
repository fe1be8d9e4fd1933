"""The middleware around all routes, outermost first."""

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.errors import ServerErrorMiddleware

from app.core.config import Settings
from app.core.http.errors import answer_bug
from app.core.http.limits import LimitsMiddleware
from app.core.http.request_log import RequestLogMiddleware
from app.core.http.security_headers import SecurityHeadersMiddleware
from app.core.http.startup_errors import StartupErrorMiddleware
from app.core.http.trusted_hosts import TrustedHostsMiddleware

PROBES = ("/health/live", "/health/ready")
METRICS = "/metrics"
# Requested every second; answered at full load and for any Host header.
MONITORING = (*PROBES, METRICS)


def add_middleware(application: FastAPI, settings: Settings) -> None:
    middleware = [
        Middleware(StartupErrorMiddleware),
        Middleware(RequestLogMiddleware, exempt_paths=MONITORING),
        Middleware(SecurityHeadersMiddleware),
    ]
    # Browsers hide responses without CORS headers from scripts, so errors must pass here too.
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
        # Starlette's own one is outermost: its responses would skip the middleware above.
        Middleware(ServerErrorMiddleware, handler=answer_bug),
        Middleware(
            LimitsMiddleware,
            body_size=settings.MAX_BODY_SIZE,
            body_timeout=settings.BODY_TIMEOUT,
            concurrency=settings.MAX_CONCURRENT_REQUESTS,
            timeout=settings.REQUEST_TIMEOUT,
            exempt_paths=MONITORING,
        ),
    ]
    if settings.ALLOWED_HOSTS:
        middleware.append(
            Middleware(
                TrustedHostsMiddleware,
                allowed=settings.ALLOWED_HOSTS,
                exempt_paths=MONITORING,
            )
        )
    application.user_middleware += middleware
