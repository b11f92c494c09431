"""Videos in, a few JPEG-encoded frames of each out."""

import errno
import math
import re
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

JPEG_QUALITY = 90
_NAME = re.compile(r"(?P<number>\d+(\.\d+)?)(?P<unit>fps|frames)-(?P<size>\d+)")


class Sampling(NamedTuple):
    """Which frames of a video to keep, and how large.

    Attributes:
      number: how many frames, above 0.
      unit: "fps", frames per second; or "frames", frames per video.
      size: length of the shorter side in pixels; the other keeps the aspect.

    """

    number: float
    unit: str
    size: int

    @property
    def name(self) -> str:
        """Such as "1fps-256" or "8frames-256"; different samplings have different names."""
        number = _decimal(self.number)
        return f"{number}{self.unit}-{self.size}"

    @property
    def flags(self) -> str:
        """The options of `lens_jax.prepare` that ask for this sampling."""
        each = "second" if self.unit == "fps" else "video"
        number = _decimal(self.number)
        return f"--frames_per_{each}={number} --size={self.size}"


class Frame(NamedTuple):
    """One frame of a video.

    Attributes:
      index: its number among the kept frames of its video, from 0.
      seconds: its time after the first frame of its video.
      image: JPEG of quality `JPEG_QUALITY`.

    """

    index: int
    seconds: float
    image: bytes


def parse_name(name: str) -> Sampling | None:
    """The sampling that has this `name`; None where no sampling has it."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    return Sampling(
        number=float(found["number"]),
        unit=found["unit"],
        size=int(found["size"]),
    )


def read_frames(path: str, sampling: Sampling) -> Iterator[Frame]:
    """Decodes a video and yields the frames that `sampling` keeps, in the order of time.

    Of a damaged video, these are the frames before the damage; of what is no video, none.
    """
    rate = _rate(path, sampling)
    kept = subsample(_decoded(path), rate)
    for index, (frame, seconds) in enumerate(kept):
        pixels = frame.to_ndarray(format="rgb24")
        image = _encode(pixels, sampling.size)
        yield Frame(index, float(seconds), image)


def is_readable(path: str) -> bool:
    """Whether `read_frames` yields any frame: whether the first one decodes."""
    first = next(_decoded(path), None)
    return first is not None


def subsample(
    frames: Iterable[tuple[Any, Fraction]], rate: Fraction
) -> Iterator[tuple[Any, Fraction]]:
    """Keeps the first frame of each interval [k / rate, (k + 1) / rate), k = 0, 1, ...

    Args:
      frames: pairs of a frame and its time in seconds, from 0 upwards.
      rate: intervals per second.

    """
    last = -1
    for frame, seconds in frames:
        interval = math.floor(seconds * rate)
        if interval > last:
            last = interval
            yield frame, seconds


def rate_for(times: Iterable[Fraction], number: int) -> Fraction:
    """The rate at which `subsample` keeps `number` frames of a video, or all if it has no more.

    With F frames, the video lasts F / (F - 1) times the span from the first frame to the last, as
    the last one has a duration too. An interval, 1 / rate, is one of `number` equal parts of that.

    Args:
      times: when the frames are shown, in seconds, in any order, at least one.
      number: frames to keep.

    """
    ordered = sorted(times)
    count = len(ordered)
    span = ordered[-1] - ordered[0]
    if not span:
        return Fraction(1)
    return Fraction(number * (count - 1), count) / span


def _rate(path: str, sampling: Sampling) -> Fraction:
    if sampling.unit == "fps":
        # Through its text: the float 0.1 is not exactly a tenth.
        return Fraction(_decimal(sampling.number))
    times = list(_times(path))
    if not times:
        return Fraction(1)
    return rate_for(times, int(sampling.number))


def _times(path: str) -> Iterator[Fraction]:
    """When the frames are shown, in seconds, in the order of the file; nothing is decoded."""
    for packet in _read(path, lambda container: container.demux(video=0)):
        # Without a time are the last packet, which is empty, and damaged ones.
        if packet.pts is not None:
            yield packet.pts * packet.time_base


def _decoded(path: str) -> Iterator[tuple[Any, Fraction]]:
    """The frames with their times, in seconds after the first."""
    first = None
    for frame in _read(path, lambda container: container.decode(video=0)):
        if frame.pts is None:
            continue
        if first is None:
            first = frame.pts
        ticks = frame.pts - first
        yield frame, ticks * frame.time_base


def _read(path: str, parts: Callable[[Any], Iterable[Any]]) -> Iterator[Any]:
    """The parts of a video up to where it is damaged."""
    import av
    from etils import epath

    try:
        # A file object rather than a path, as the path may be in a bucket.
        with epath.Path(path).open("rb") as file, av.open(file) as container:
            if container.streams.video:
                yield from parts(container)
    except av.FFmpegError:
        return
    except OSError as error:
        # In a damaged file, FFmpeg may seek to before its start. All else is the disk's fault.
        if error.errno != errno.EINVAL:
            raise


def _encode(image: np.ndarray, size: int) -> bytes:
    # Imported here as only preparing data needs them.
    import cv2
    import simplejpeg

    height, width, _ = image.shape
    scale = size / min(height, width)
    new_width = round(width * scale)
    new_height = round(height * scale)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    resized = cv2.resize(image, (new_width, new_height), interpolation=method)
    return simplejpeg.encode_jpeg(resized, quality=JPEG_QUALITY, colorspace="RGB")


def _decimal(number: float) -> str:
    """The shortest text that stands for this float, without an exponent."""
    return np.format_float_positional(number, trim="-")
