"""Leases: for as many as there may be, as long as their clients do something and live."""

import pytest

pytest.importorskip("fastapi")

from fastapi import HTTPException

from incontext.page.leases import Leases, LeaseTerms


class Clock:
    """A clock that is set by hand."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def leases(clock: Clock) -> Leases[list[str]]:
    return Leases(list, LeaseTerms(most=2, idle_s=600.0, silent_s=60.0, clock=clock))


def test_each_client_has_its_own(leases: Leases[list[str]]) -> None:
    one, other = leases.claim(), leases.claim()
    leases.use(one).append("said")
    assert leases.use(one) == ["said"]
    assert leases.use(other) == []


def test_there_are_no_more_than_agreed_until_one_ends(leases: Leases[list[str]], clock: Clock) -> None:
    one, _ = leases.claim(), leases.claim()
    with pytest.raises(HTTPException, match="server is full"):
        leases.claim()
    leases.release(one)
    leases.release(one)
    leases.claim()
    clock.now_s += 61
    leases.claim()


def test_a_client_that_lives_and_does_nothing_loses_it(leases: Leases[list[str]], clock: Clock) -> None:
    token = leases.claim()
    for left_s in range(550, 0, -50):
        clock.now_s += 50
        assert leases.see(token) == left_s
    clock.now_s += 49
    assert leases.left_s(token) == 1
    leases.use(token)
    assert leases.left_s(token) == 600


def test_a_client_that_is_silent_loses_it(leases: Leases[list[str]], clock: Clock) -> None:
    token = leases.claim()
    clock.now_s += 60
    assert leases.left_s(token) == 540  # no sign of life
    clock.now_s += 1
    for ask in (leases.use, leases.see, leases.left_s):
        with pytest.raises(HTTPException, match="lease has ended"):
            ask(token)
