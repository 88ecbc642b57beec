"""Whatever fails is told in one line, and nothing around it ends."""

import zlib
from concurrent.futures.process import BrokenProcessPool

import pytest

from megamed.failures import LONGEST, Attempt, one_line, told


class Odd(Exception):
    """What no list of exceptions names."""


FAILURES = (
    *(ValueError("x"), OSError("x"), KeyError("x"), TypeError("x"), RuntimeError("x"), RecursionError("x")),
    *(MemoryError(), ImportError("x"), AttributeError("x"), IndexError("x"), ZeroDivisionError("x"), StopIteration()),
    *(BrokenProcessPool("x"), SyntaxError("x"), ValueError("two\nlines \x1b[31m"), zlib.error("x"), Odd(), OSError()),
)


@pytest.mark.parametrize("error", FAILURES, ids=repr)
def test_every_failure_is_told_in_one_line(error: Exception) -> None:
    with Attempt() as attempt:
        raise error
    assert attempt.reason == told(error)
    assert attempt.reason.isprintable()
    assert type(error).__name__ in attempt.reason or str(error)[:1] in attempt.reason


def test_what_was_foreseen_speaks_for_itself() -> None:
    assert told(ValueError("size is wrong: expected 1, got 2.")) == "size is wrong: expected 1, got 2."
    assert told(KeyError("size")).startswith("something unforeseen happened: KeyError: 'size'. Please report")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: ...")])
def test_full_memory_is_told_as_such(error: Exception) -> None:
    assert told(error).startswith("the memory is full: expected room")


def test_an_error_of_another_process_is_told_without_its_traceback() -> None:
    printed = "Original Traceback (most recent call last):\n  a\nKeyError: 3\n"
    assert told(ValueError(f"Caught KeyError in DataLoader worker process 0.\n{printed}")) == "KeyError: 3"
    dead = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
    assert told(dead).startswith("a worker process died: DataLoader worker (pid 7) is killed")


def test_a_long_reason_is_cut_in_the_middle() -> None:
    text = told(ValueError("a" * 10**6 + "b"))
    assert len(text) < LONGEST + 10
    assert text[0] == "a"
    assert text[-1] == "b"


def test_nothing_fails_where_nothing_happens() -> None:
    with Attempt() as attempt:
        pass
    assert (attempt.error, attempt.reason) == (None, "")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, KeyError], ids=repr)
def test_interruptions_and_named_exceptions_pass(error: type[BaseException]) -> None:
    with pytest.raises(error), Attempt(KeyError):
        raise error


def test_names_keep_their_letters_and_lose_their_control_characters() -> None:
    assert one_line("磁共振\n\x1b[31m\tü") == "磁共振 \\x1b[31m ü"
