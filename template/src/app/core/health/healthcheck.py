"""`python -m app.core.health.healthcheck PATH`: exit 0 if the server in this container answers 200.

For images, which have no curl; environment variables that name a proxy do not mislead it.
"""

import sys
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException

PORT = 8000
TIMEOUT = 4


def main() -> None:
    connection = HTTPConnection("127.0.0.1", PORT, timeout=TIMEOUT)
    try:
        connection.request("GET", sys.argv[1])
        response = connection.getresponse()
    except (OSError, HTTPException) as error:
        raise SystemExit(f"no answer: {error}") from None
    if response.status != HTTPStatus.OK:
        raise SystemExit(f"{response.status}: {response.read(1000).decode(errors='replace')}")


if __name__ == "__main__":
    main()
