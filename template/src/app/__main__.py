"""`python -m app`: the service on uvicorn, as the settings want it."""

import argparse

import uvicorn

from app.core.config import load_settings
from app.core.logging import configure_logging
from app.core.protocol import BoundedHttpProtocol


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m app")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--reload", action="store_true", help="start anew when the code changes")
    arguments = parser.parse_args()
    settings = load_settings()
    configure_logging(settings.LOG_LEVEL, settings.LOG_FORMAT)
    uvicorn.run(
        "app.main:app",
        host=arguments.host,
        port=arguments.port,
        reload=arguments.reload,
        reload_dirs="src/app" if arguments.reload else None,
        workers=settings.WORKERS,
        http=BoundedHttpProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        # Whoever may set these headers decides whose address and which scheme is believed.
        proxy_headers=bool(settings.TRUSTED_PROXIES),
        forwarded_allow_ips=settings.TRUSTED_PROXIES,
        timeout_graceful_shutdown=settings.SHUTDOWN_TIMEOUT,
    )


if __name__ == "__main__":
    main()
