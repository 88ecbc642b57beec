"""Damage of many kinds to the content of a file, drawn from a seed."""

import json
import random
import re
from collections.abc import Callable, Iterator

STRETCH = 400
"""Most bytes that one change concerns."""
STRANGE = (0, -1, 10**12, 1e999, None, "", "x", [], {}, True, [1] * 50, "9" * 40)
"""Values in place of others in JSON."""


def mutated(content: bytes, count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Names of changes, and what they make of a file's content; every kind of change takes its turn."""
    rng = random.Random(seed)
    kinds = (_flipped, _cut, _zeroed, _scrambled, _doubled, _strange, _swapped)
    for number in range(count):
        kind = kinds[number % len(kinds)]
        yield f"{kind.__name__.strip('_')} {number}", kind(content, rng)


def _place(content: bytes, rng: random.Random) -> int:
    """A place in a file, half of the time near its beginning, where headers are."""
    return rng.randrange(min(len(content), 2000 if rng.random() < 0.5 else len(content)))


def _flipped(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 8))):
        changed[_place(content, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.choice((0, 1, 8, len(content) - 1, _place(content, rng)))]


def _zeroed(content: bytes, rng: random.Random) -> bytes:
    place, length = _place(content, rng), rng.randrange(1, STRETCH)
    return (content[:place] + bytes(length) + content[place + length :])[: len(content)]


def _scrambled(content: bytes, rng: random.Random) -> bytes:
    place, length = _place(content, rng), rng.randrange(1, STRETCH)
    return content[:place] + rng.randbytes(length) + content[place + length :]


def _doubled(content: bytes, rng: random.Random) -> bytes:
    place = _place(content, rng)
    return content[:place] + content[place : place + rng.randrange(1, STRETCH)] + content[place:]


def _strange(content: bytes, rng: random.Random) -> bytes:
    """Another value at some place in the JSON of a safetensors header."""

    def change(table: dict) -> None:
        table[rng.choice([*table, "later"])] = rng.choice(STRANGE)

    return _with_other_json(content, rng, change)


def _swapped(content: bytes, rng: random.Random) -> bytes:
    """Two values of a table in the JSON of a safetensors header, each in the other's place."""

    def change(table: dict) -> None:
        one, two = rng.choice([*table]), rng.choice([*table])
        table[one], table[two] = table[two], table[one]

    return _with_other_json(content, rng, change)


def _with_other_json(content: bytes, rng: random.Random, change: Callable[[dict], None]) -> bytes:
    length = int.from_bytes(content[:8], "little")
    if not re.match(rb'\{"', content[8:10]) or length > len(content):
        return _flipped(content, rng)
    head = json.loads(content[8 : 8 + length])
    told = head.get("__metadata__", {})
    name = rng.choice([each for each in told if told[each].startswith("{")])
    inner = json.loads(told[name])
    tables = [inner, *(each for each in inner.values() if isinstance(each, dict) and each)]
    change(rng.choice(tables))
    told[name] = json.dumps(inner)
    if rng.random() < 0.5:  # as whoever writes such a file without a checksum
        told.pop("checksum", None)
    again = json.dumps(head).encode()
    return len(again).to_bytes(8, "little") + again + content[8 + length :]
