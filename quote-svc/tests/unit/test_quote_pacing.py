"""How often an upstream is asked, and when it is left alone."""

import pytest

from quote_svc.pacing import CircuitBreaker, Refusal, TokenBucket, Trouble


def test_a_bucket_spreads_calls_over_time_after_its_burst() -> None:
    bucket = TokenBucket(rate=2, burst=2)
    assert [bucket.reserve(100.0) for _ in range(5)] == [0, 0, 0.5, 1.0, 1.5]


def test_a_rest_saves_up_no_more_than_the_burst() -> None:
    bucket = TokenBucket(rate=2, burst=2)
    bucket.reserve(0)
    assert [bucket.reserve(1000.0) for _ in range(3)] == [0, 0, 0.5]


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_a_bucket_that_lets_nothing_through_is_refused(rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match="rate above 0"):
        TokenBucket(rate, burst)


def ticket(breaker: CircuitBreaker, now: float) -> int:
    admitted = breaker.admit(now)
    assert not isinstance(admitted, Refusal)
    return admitted


def fail(breaker: CircuitBreaker, now: float) -> None:
    breaker.failed(ticket(breaker, now), now)


def test_failures_in_a_row_open_it_and_an_answer_starts_the_count_anew() -> None:
    breaker = CircuitBreaker(failures=3, pause=10)
    fail(breaker, 0)
    fail(breaker, 1)
    breaker.succeeded(ticket(breaker, 2))
    fail(breaker, 3)
    fail(breaker, 4)
    assert breaker.refusal(4) is None
    fail(breaker, 5)
    assert breaker.admit(6) == Refusal(Trouble.UNREACHABLE, 9)


def test_one_call_at_a_time_tries_whether_the_upstream_is_back() -> None:
    breaker = CircuitBreaker(failures=1, pause=10)
    fail(breaker, 0)
    probe = ticket(breaker, 10)
    assert isinstance(breaker.admit(10), Refusal)
    breaker.succeeded(probe)
    assert breaker.admit(10) == breaker.admit(10)


def test_the_pause_doubles_up_to_its_cap_and_is_short_again_after_an_answer() -> None:
    breaker = CircuitBreaker(failures=1, pause=10, cap=35)
    now, pauses = 0.0, []
    for _ in range(4):
        fail(breaker, now)
        refused = breaker.refusal(now)
        assert refused is not None
        pauses.append(refused.seconds)
        now += refused.seconds
    assert pauses == [10, 20, 35, 35]
    breaker.succeeded(ticket(breaker, now))
    fail(breaker, now)
    assert breaker.refusal(now) == Refusal(Trouble.UNREACHABLE, 10)


def test_being_asked_to_slow_down_opens_it_at_once_for_as_long_as_asked() -> None:
    breaker = CircuitBreaker(failures=5, pause=10)
    breaker.rate_limited(ticket(breaker, 0), 0, retry_after=42)
    assert breaker.refusal(2) == Refusal(Trouble.RATE_LIMITED, 40)


def test_nobody_waits_a_day_because_a_header_says_so() -> None:
    breaker = CircuitBreaker()
    breaker.rate_limited(ticket(breaker, 0), 0, retry_after=86_400)
    assert breaker.refusal(0) == Refusal(Trouble.RATE_LIMITED, 3600)


def test_calls_that_were_under_way_when_it_opened_count_once() -> None:
    breaker = CircuitBreaker(pause=10)
    first, second, third = (ticket(breaker, 0) for _ in range(3))
    breaker.rate_limited(first, 1)
    breaker.rate_limited(second, 2)
    breaker.succeeded(third)
    assert breaker.refusal(2) == Refusal(Trouble.RATE_LIMITED, 9)
    breaker.rate_limited(second, 3, retry_after=60)
    assert breaker.refusal(3) == Refusal(Trouble.RATE_LIMITED, 60)
