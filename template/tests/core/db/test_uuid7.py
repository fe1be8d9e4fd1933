import time

from app.core.db.uuid7 import uuid7


def test_ids_are_of_version_7_and_hold_the_time() -> None:
    before = time.time_ns() // 1_000_000

    id_ = uuid7()

    assert (id_.version, id_.variant) == (7, "specified in RFC 4122")
    assert before <= id_.int >> 80 <= before + 60_000


def test_ids_sort_in_the_order_in_which_they_were_made() -> None:
    ids = [uuid7() for _ in range(10_000)]

    assert ids == sorted(set(ids))
