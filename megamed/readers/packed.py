"""Compressed content, unpacked chunk by chunk and no further than it may be."""

import bz2
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, Literal

CHUNK_BYTES = 2**20
Packing = Literal["gzip", "bzip2", "deflate"]
UNPACKERS: dict[Packing, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(zlib.MAX_WBITS | 16),
    "bzip2": bz2.BZ2Decompressor,
    "deflate": lambda: zlib.decompressobj(-zlib.MAX_WBITS),
}


def unpacked(file: IO[bytes], packing: Packing, most_bytes: int) -> Iterator[bytes]:
    """Yield what the rest of a file unpacks to, in pieces.

    A few kilobytes may unpack to gigabytes: what is more than the header declares is never made.

    Raises:
        ValueError: If it is more than `most_bytes`.
    """
    unpacker, count = UNPACKERS[packing](), 0
    while not unpacker.eof and (chunk := file.read(CHUNK_BYTES)):
        piece = unpacker.decompress(chunk, most_bytes - count + 1)
        count += len(piece)
        if count > most_bytes:
            msg = f"expected at most {most_bytes} bytes, as much as it may hold, got more once unpacked"
            raise ValueError(msg)
        yield piece
