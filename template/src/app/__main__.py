"""`python -m app`: the service on uvicorn, configured by the settings."""

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
    parser.add_argument("--reload", action="store_true", help="restart when the code changes")
    arguments = parser.parse_args()
    settings = load_settings()
    configure_logging(settings.LOG_LEVEL, settings.LOG_FORMAT)
    options: dict[str, Any] = {
        "app": "app.main:app",
        "host": arguments.host,
        "port": arguments.port,
        "http": BoundedHttpProtocol,
        "ws": "auto" if settings.WEBSOCKETS else "none",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        # Only trusted proxies may set the client's address and scheme.
        "proxy_headers": bool(settings.TRUSTED_PROXIES),
        "forwarded_allow_ips": settings.TRUSTED_PROXIES,
        # Longer than the 60 s of nginx and of AWS: the proxy must be the first to close an idle
        # connection, or it sends requests into a closed one.
        "timeout_keep_alive": 75,
        "timeout_graceful_shutdown": settings.SHUTDOWN_TIMEOUT,
    }
    if arguments.reload:
        uvicorn.run(reload=True, reload_dirs="src/app", **options)
    elif settings.WORKERS == 1:
        uvicorn.run(**options)
    else:
        sys.exit(_run_workers(uvicorn.Config(workers=settings.WORKERS, **options)))


class _Supervisor(Multiprocess):
    def terminate_all(self) -> None:
        """Stop listening too: connections would be accepted here that no worker will serve."""
        for socket in self.sockets:
            socket.close()
        super().terminate_all()


def _run_workers(config: uvicorn.Config) -> int:
    """Run workers as `uvicorn.run` does, but return its error code if they could not start."""
    supervisor = _Supervisor(config, sockets=[config.bind_socket()])
    supervisor.run()
    codes = [worker.exitcode for worker in supervisor.processes]
    return STARTUP_FAILURE if STARTUP_FAILURE in codes else 0


if __name__ == "__main__":
    main()
