"""Pauses between attempts."""

from slipway.backoff import LONGEST_PAUSE, backoff


def test_pauses_grow_to_a_limit_and_the_last_attempt_has_none() -> None:
    attempts = list(backoff(12))

    assert [number for number, _ in attempts] == list(range(1, 13))
    *pauses, last = [pause for _, pause in attempts]
    assert last is None
    for number, pause in enumerate(pauses):
        longest = min(0.5 * 2**number, LONGEST_PAUSE)
        assert pause is not None
        assert longest / 2 <= pause <= longest


def test_pauses_differ_between_processes() -> None:
    assert {tuple(backoff(5)) for _ in range(3)} != {tuple(backoff(5))}
