"""The worker's log of requests."""

from slipway.rehearse.traffic.worker import RequestLog


def test_memory_is_bounded_and_what_matters_stays() -> None:
    log = RequestLog(most=1000)
    for number in range(3000):
        error = "odd" if number == 7 else ""
        log.add("t", "read", float(number), 9.0 if number == 8 else 0.001, error)

    assert len(log.requests) <= 1000
    assert log.sent["t", "read"] == 3000
    assert [request[4] for request in log.requests if request[4]] == ["odd"]
    assert max(request[3] for request in log.requests) == 9.0
