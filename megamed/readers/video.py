"""Read the frames of a video through PyAV, which brings the decoders with it."""

import numpy as np

from megamed.readers.faults import needs, one_error
from megamed.readers.memory import check_size
from megamed.readers.source import Source
from megamed.readers.stored import StoredImage

COLOURS = 3
RIGHT_ANGLE = 90


def read(source: Source, most_pixels: int) -> StoredImage:
    """Read all frames of the first video stream of a file, in colour and upright.

    Raises:
        ValueError: If the file cannot be decoded, shows nothing, or has more than `most_pixels` in all.
        ImportError: If PyAV is not installed; the message has the command.
    """
    (path,) = source.files
    with needs("PyAV", "video", extra="video"):
        import av
    frames: list[np.ndarray] = []
    with one_error(path, av.FFmpegError, ValueError), av.open(str(path)) as film:
        for frame in film.decode(video=0) if film.streams.video else ():
            check_size((len(frames) + 1, frame.height, frame.width), COLOURS, most_pixels)
            # phones store frames as their sensor lies, and how to turn them counterclockwise to be seen
            frames.append(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / RIGHT_ANGLE)))
    if not frames:
        msg = f"{path.name} cannot be read: expected a video, got a file without a frame."
        raise ValueError(msg)
    return StoredImage(np.stack(frames), "TYXC", is_lossy=True)
