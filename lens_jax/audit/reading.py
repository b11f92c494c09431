"""Reads every image of a folder once, in threads, and keeps what the later parts need.

That is what each file says of itself, digests of its bytes and of its pixels, and, of the images
that the probes look at, a small copy and the statistics of the full one.
"""

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import cv2
import numpy as np

from lens_jax.audit.folder import Folder
from lens_jax.audit.header import Header, read_header
from lens_jax.audit.statistics import describe
from lens_jax.data import decode, headers
from lens_jax.errors import one_line

# The side of the small copies, in pixels; images are squeezed to squares.
SIDE = 64
_UPRIGHT = decode.Decoding(upright=True)
_DIGITS = 16
_NO_HEADER = Header("", "", 0, 0, 1, "", "", 0, "")
# Files in the hands of the threads at a time, for each of them: bounds the memory.
_AHEAD = 4


class File(NamedTuple):
    """What was read of one file.

    Attributes:
      error: why it is no whole image; "" where it is one.
      bytes_digest: the first 16 digits of the SHA-256 of the file.
      pixels_digest: likewise of the size and the pixels of the upright image; "" of a broken one.
      header: what it says of itself.
      small: the image at `SIDE` pixels a side, uint8 [SIDE, SIDE, 3]; None of a broken one.
      statistics: see `statistics.describe`; None where they were not computed.

    """

    error: str
    bytes_digest: str
    pixels_digest: str
    header: Header
    small: np.ndarray | None
    statistics: dict[str, np.ndarray] | None


class Reading(NamedTuple):
    """What was read of all files of a folder.

    Attributes:
      columns: a list with an entry a file for each of: error, bytes_digest, pixels_digest, and the
        fields of `Header`.
      kept: indices [K] of the whole images that the probes look at, sorted.
      small: their small copies, uint8 [K, SIDE, SIDE, 3].
      statistics: their statistics by name, float32 [K, number of them].

    """

    columns: dict[str, list[Any]]
    kept: np.ndarray
    small: np.ndarray
    statistics: dict[str, np.ndarray]


def read_folder(folder: Folder, chosen: np.ndarray) -> Reading:
    """Reads all files of a folder; of the `chosen` indices, the pixels are kept."""
    wanted = set(chosen.tolist())
    columns: dict[str, list[Any]] = {"error": [], "bytes_digest": [], "pixels_digest": []}
    for name in Header._fields:
        columns[name] = []
    kept = []
    small = []
    statistics = []
    for index, file in enumerate(_read_all(folder, wanted)):
        columns["error"].append(file.error)
        columns["bytes_digest"].append(file.bytes_digest)
        columns["pixels_digest"].append(file.pixels_digest)
        for name, value in file.header._asdict().items():
            columns[name].append(value)
        if file.statistics is not None:
            kept.append(index)
            small.append(file.small)
            statistics.append(file.statistics)

    shape = (len(kept), SIDE, SIDE, 3)
    stacked = {}
    for name in statistics[0] if statistics else ():
        rows = [each[name] for each in statistics]
        stacked[name] = np.array(rows, np.float32)
    return Reading(columns, np.array(kept, int), np.array(small, np.uint8).reshape(shape), stacked)


def _read_all(folder: Folder, wanted: set[int]) -> Iterable[File]:
    """What was read of each file, in order."""
    threads = os.cpu_count() or 1
    pending = []
    with ThreadPoolExecutor(threads) as pool:
        for index, path in enumerate(folder.paths):
            full_path = os.path.join(folder.root, path)
            pending.append(pool.submit(read_file, full_path, index in wanted))
            if len(pending) > threads * _AHEAD:
                yield pending.pop(0).result()
        for future in pending:
            yield future.result()


def read_file(path: str, with_statistics: bool) -> File:
    """Reads one file; one that is no whole image is no error, but says why."""
    header = _NO_HEADER
    data = b""
    try:
        with open(path, "rb") as file:
            data = file.read()
        header = read_header(data)
        image = decode.decode(data, _UPRIGHT)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else one_line(error)
        return File(why or headers.INVALID, _digest(data), "", header, None, None)

    pixels_digest = _digest(repr(image.shape).encode(), image)
    if not with_statistics:
        return File("", _digest(data), pixels_digest, header, None, None)
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return File("", _digest(data), pixels_digest, header, small, describe(image))


def _digest(*contents: bytes | np.ndarray) -> str:
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content)
    return digest.hexdigest()[:_DIGITS]
