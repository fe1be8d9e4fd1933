"""`python -m app`: the service on uvicorn, as the settings want it."""

import argparse
import sys
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from app.core.config import load_settings
from app.core.http.protocol import BoundedHttpProtocol
from app.core.logging import configure_logging


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m app")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--reload", action="store_true", help="start anew when the code changes")
    arguments = parser.parse_args()
    settings = load_settings()
    configure_logging(settings.LOG_LEVEL, settings.LOG_FORMAT)
    options: dict[str, Any] = {
        "app": "app.main:app",
        "host": arguments.host,
        "port": arguments.port,
        "http": BoundedHttpProtocol,
        "log_config": None,
        "access_log": False,
        "server_header": False,
        # Whoever may set these headers decides whose address and which scheme is believed.
        "proxy_headers": bool(settings.TRUSTED_PROXIES),
        "forwarded_allow_ips": settings.TRUSTED_PROXIES,
        # Longer than the 60 s of nginx and of AWS: a proxy that is not the first to close an idle
        # connection sends requests into its end.
        "timeout_keep_alive": 75,
        "timeout_graceful_shutdown": settings.SHUTDOWN_TIMEOUT,
    }
    if arguments.reload:
        uvicorn.run(reload=True, reload_dirs="src/app", **options)
    elif settings.WORKERS == 1:
        uvicorn.run(**options)
    else:
        sys.exit(_run_workers(uvicorn.Config(workers=settings.WORKERS, **options)))


def _run_workers(config: uvicorn.Config) -> int:
    """As `uvicorn.run` does it, which returns as if all were well when they could not start."""
    supervisor = Multiprocess(config, sockets=[config.bind_socket()])
    supervisor.run()
    codes = [worker.exitcode for worker in supervisor.processes]
    return STARTUP_FAILURE if STARTUP_FAILURE in codes else 0


if __name__ == "__main__":
    main()
