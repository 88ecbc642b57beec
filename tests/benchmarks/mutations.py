"""Ways in which a file is damaged: cut off, bits flipped, lines lost or repeated, bytes of another kind put in."""

import random
from collections.abc import Callable

STRANGE = (b"\0", b"\xff\xfe", b'"', b",", b"\n", b"\r", b"=1", b"[" * 5000)
Mutation = Callable[[bytes, random.Random], bytes]


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def flip(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


def zero(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + bytes(len(content[start : start + 40])) + content[start + 40 :]


def insert(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content))
    return (
        content[:place]
        + rng.choice([b"\0", b"\xff\xfe", b'"', b",", b"\n", b"\r", b"=1", b"[" * 5000])
        + content[place:]
    )


def repeat_line(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    place = rng.randrange(len(lines))
    return b"".join(lines[: place + 1] + lines[place:])


def swap_words(content: bytes, rng: random.Random) -> bytes:
    """Exchange a word with another one of the file."""
    words = content.replace(b'"', b",").split(b",")
    old, new = rng.choice(words), rng.choice(words)
    return content.replace(old, new, 1) if old else content


def digit(content: bytes, rng: random.Random) -> bytes:
    places = [index for index, byte in enumerate(content) if chr(byte).isdigit()]
    place = rng.choice(places or [0])
    return content[:place] + str(rng.randrange(10)).encode() + content[place + 1 :]


def empty(content: bytes, rng: random.Random) -> bytes:
    return b""


MUTATIONS: tuple[Mutation, ...] = (cut, flip, zero, insert, repeat_line, swap_words, digit, empty)


def mutated(content: bytes, seed: int) -> bytes:
    """Damage a content in one way, which the seed decides."""
    rng = random.Random(seed)
    return MUTATIONS[seed % len(MUTATIONS)](content, rng)
