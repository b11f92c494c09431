"""Small videos for tests, made on the spot."""

import pathlib
from fractions import Fraction

import av
import numpy as np

LEVELS = 8


def picture(index: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A gradient whose brightness tells the index, modulo `LEVELS`: uint8 [height, width, 3]."""
    ramp = np.linspace(0, 12, width).astype(np.uint8)
    level = 16 + 24 * (index % LEVELS)
    return np.broadcast_to((ramp + level)[None, :, None], (height, width, 3)).astype(np.uint8)


def write_clip(
    path: pathlib.Path, frames: int, fps: int = 8, codec: str = "mpeg4", **shape: int
) -> None:
    """Writes a video of `picture(0)`, `picture(1)`, ..."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height = shape.get("width", 64), shape.get("height", 48)
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, fps)
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index, **shape), format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_sound(path: pathlib.Path) -> None:
    """Writes a file with sound alone."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts = 16_000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def level(image: np.ndarray) -> int:
    """The index, modulo `LEVELS`, of the picture that an image shows."""
    return round((float(image.mean()) - 22) / 24)
