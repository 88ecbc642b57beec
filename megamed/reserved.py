"""Room on the disk for a file that HDF5 writes, taken before HDF5 needs it.

HDF5 bears no full disk: it keeps what it could not write, and may bring the process down when it is closed. So the room
is asked of the system first, and its refusal is an error like any other.
"""

import errno
import os
import struct
from pathlib import Path

from megamed.rows import PackedRow

ROW_BYTES = 1000
"""Room that the tables and trees of a row take, at most."""
MARGIN_BYTES = 2**20
"""Room that is kept free beyond what was asked for, for the tables and trees that HDF5 writes besides."""
STEP_SHARE = 8
"""Share of the size of the file that is reserved at once, as its divisor; the margin at least."""
END_ADDRESS = struct.Struct("<40xQ")
"""Place in the first bytes of an HDF5 file where it tells its size."""
UNSUPPORTED = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}


class Reserve:
    """Room for a file that is open in HDF5.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._used = self._reserved = 0
        self._can = hasattr(os, "posix_fallocate")

    def take(self, size_bytes: int) -> None:
        """Make sure of room for some more bytes.

        Raises:
            OSError: If there is none.
        """
        self._used += size_bytes
        lacking = self._used + MARGIN_BYTES - self._reserved
        if lacking <= 0 or not self._can:
            return
        step = max(lacking, MARGIN_BYTES, self._used // STEP_SHARE)
        descriptor = os.open(self._path, os.O_RDWR)
        try:
            os.posix_fallocate(descriptor, self._reserved, step)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise OSError(error.errno, os.strerror(error.errno or 0), str(self._path)) from error
            self._can = False
        else:
            self._reserved += step
        finally:
            os.close(descriptor)

    def take_row(self, row: PackedRow) -> None:
        """Make sure of room for a row, as `take` does."""
        self.take(ROW_BYTES + len(row.image) + sum(map(len, (*row.labels.values(), *row.names))))

    def give_back(self) -> None:
        """Cut the closed file to the size that it tells."""
        if self._reserved:
            with self._path.open("rb+") as file:
                (size,) = END_ADDRESS.unpack(file.read(END_ADDRESS.size))
                file.truncate(size)
