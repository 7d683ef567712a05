import pytest
from token_bucket import TokenBucket


@pytest.fixture
def bucket():
    return TokenBucket.full(rate=2.0, capacity=10.0, now=100.0)


def test_starts_full(bucket):
    assert bucket.tokens == 10.0


def test_a_burst_up_to_the_capacity_is_let_through(bucket):
    assert all(bucket.take(1, 100.0) for _ in range(10))
    assert not bucket.take(1, 100.0)


def test_a_refusal_takes_nothing(bucket):
    bucket.take(8, 100.0)
    assert not bucket.take(3, 100.0)
    assert bucket.tokens == 2.0


def test_refills_at_its_rate(bucket):
    bucket.take(10, 100.0)
    bucket.refill(101.5)
    assert bucket.tokens == pytest.approx(3.0)


def test_never_holds_more_than_its_capacity(bucket):
    bucket.refill(1e9)
    assert bucket.tokens == 10.0


def test_a_clock_that_goes_back_changes_nothing(bucket):
    bucket.take(4, 100.0)
    bucket.refill(50.0)
    assert bucket.tokens == 6.0
    assert bucket.updated_at == 100.0


@pytest.mark.parametrize(("amount", "wait"), [(1, 0.0), (10, 0.0), (10.0, 0.0)])
def test_waits_for_nothing_while_full(bucket, amount, wait):
    assert bucket.wait_s(amount, 100.0) == wait


def test_says_how_long_to_wait(bucket):
    bucket.take(10, 100.0)
    assert bucket.wait_s(5, 100.0) == pytest.approx(2.5)


def test_more_than_the_capacity_never_comes(bucket):
    assert bucket.wait_s(11, 100.0) is None


@pytest.mark.parametrize(("rate", "capacity"), [(0, 1), (1, 0), (-1, 1)])
def test_refuses_limits_that_make_no_sense(rate, capacity):
    with pytest.raises(ValueError, match="positive"):
        TokenBucket.full(rate, capacity, 0.0)


def test_refuses_to_take_nothing(bucket):
    with pytest.raises(ValueError, match="positive"):
        bucket.take(0, 100.0)
