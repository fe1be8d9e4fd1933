"""UUID version 7 for Python before 3.14, whose `uuid` has no `uuid7`."""

import os
import time
from uuid import UUID

_STEP = 1_000_000 // 4096 + 1  # nanoseconds between two values of the fraction below
_last = 0


def uuid7() -> UUID:
    """Make a UUID of version 7, greater than all that this process has made before.

    48 bits of Unix milliseconds, 12 bits of their fraction as PostgreSQL 18 has them, 62 random
    bits (RFC 9562, 5.7 and 6.2, method 3).
    """
    global _last
    _last = max(time.time_ns(), _last + _STEP)
    milliseconds, nanoseconds = divmod(_last, 1_000_000)
    fraction = nanoseconds * 4096 // 1_000_000
    random = int.from_bytes(os.urandom(8)) >> 2
    return UUID(int=milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | random)
