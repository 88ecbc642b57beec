"""Turns at the segmenter: a person never waits for more than what is at work."""

import threading

from incontext.page.turnstile import Turnstile

PATIENCE_S = 60


def test_a_person_comes_before_the_images_in_the_background() -> None:
    turnstile, begun, waiting = Turnstile(), threading.Event(), threading.Event()
    order: list[object] = []

    def background() -> None:
        for number in range(3):
            with turnstile.last():
                order.append(number)
                begun.set()
                assert waiting.wait(PATIENCE_S)

    thread = threading.Thread(target=background)
    thread.start()
    assert begun.wait(PATIENCE_S)
    person = threading.Thread(target=lambda: enter(turnstile, order))
    person.start()
    while not turnstile._next.locked():
        pass
    waiting.set()
    thread.join()
    person.join()
    assert order == [0, "person", 1, 2]


def enter(turnstile: Turnstile, order: list[object]) -> None:
    with turnstile.first():
        order.append("person")
