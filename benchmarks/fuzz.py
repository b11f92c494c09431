"""Reads thousands of mutated images of all formats, and counts how many are decoded and refused.

    python -m benchmarks.fuzz --files=10000 --seed=0

Every file is read in the three ways in which images are read. Each has to return an image of the
right size or to raise a ValueError. All else is an accident: another exception, an image of another
shape, a crash of the process, or more time than --limit. Accidents are listed, and the exit status
is 1 if there are any.
"""

import collections
import concurrent.futures
import functools
import io
import multiprocessing
import os
import resource
import signal
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import cv2
import numpy as np
from absl import flags
from PIL import Image, PngImagePlugin

from lens_jax import cli
from lens_jax.data import decode

SIZE = 32
Reader = Callable[[bytes, np.random.Generator], np.ndarray]
READERS: dict[str, Reader] = {
    "resize": lambda data, _: decode.resize(data, SIZE),
    "central_crop_resize": lambda data, _: decode.central_crop_resize(data, SIZE),
    "random_crop_resize": lambda data, rng: decode.random_crop_resize(data, SIZE, rng),
}
DECODED, REFUSED = "decoded", "refused"
_ORIENTATION = 0x0112
EXTREMES = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF)
# (file, another file, random numbers) -> the file, mutated.
Mutation = Callable[[bytes, bytes, np.random.Generator], bytes]


class Task(NamedTuple):
    """One way to read one file: the file's number, and a key of `READERS`."""

    file: int
    reader: str


class Result(NamedTuple):
    """What a task led to, and how long it took.

    Attributes:
      outcome: `DECODED`, `REFUSED`, or a description of what happened instead.
      seconds: the time that the task took.

    """

    outcome: str
    seconds: float


@functools.cache
def originals() -> dict[str, bytes]:
    """Intact files by their kinds: all formats that are read, in many sorts, and two others."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (4, 6, 3), np.uint8)
    smooth = cv2.resize(noise, (96, 64), interpolation=cv2.INTER_CUBIC)
    deep = 257 * smooth.astype(np.uint16)
    image = Image.fromarray(smooth)
    gray = image.convert("L")
    comment = PngImagePlugin.PngInfo()
    comment.add_text("Comment", "any " * 100, zip=True)
    later = [image.rotate(90)] * 2

    jpegs = {
        "JPEG": _encode(image, "JPEG"),
        "large JPEG": _encode(image.resize((500, 375)), "JPEG"),
        "progressive JPEG": _encode(image, "JPEG", progressive=True),
        "gray JPEG": _encode(gray, "JPEG", comment=b"any"),
        "CMYK JPEG": _encode(image.convert("CMYK"), "JPEG"),
    }
    pngs = {
        "PNG": _encode(image, "PNG"),
        "gray PNG": _encode(gray, "PNG"),
        "1 bit PNG": _encode(image.convert("1"), "PNG"),
        "16 bit PNG": cv2.imencode(".png", deep)[1].tobytes(),
    }
    special_pngs = {
        "palette PNG": _encode(image.quantize(16), "PNG", transparency=3),
        "transparent PNG": _encode(image.convert("RGBA"), "PNG", pnginfo=comment),
        "animated PNG": _encode(image, "PNG", save_all=True, append_images=later),
    }
    exif = Image.Exif()
    exif[_ORIENTATION] = 6
    turned = {
        "turned JPEG": _encode(image, "JPEG", exif=exif),
        "turned PNG": _encode(image, "PNG", exif=exif),
        "turned WebP": _encode(image, "WEBP", exif=exif),
    }
    others = {kind: _encode(image, kind) for kind in ("GIF", "WEBP", "BMP", "TIFF", "PPM")}
    special = {
        "animated GIF": _encode(image, "GIF", save_all=True, append_images=later),
        "animated WebP": _encode(image, "WEBP", save_all=True, append_images=later),
        "lossless WebP": _encode(image.convert("RGBA"), "WEBP", lossless=True),
        "palette BMP": _encode(image.quantize(16), "BMP"),
        "LZW TIFF": _encode(image, "TIFF", compression="tiff_lzw"),
        "CMYK TIFF": _encode(image.convert("CMYK"), "TIFF", compression="tiff_adobe_deflate"),
        "16 bit TIFF": cv2.imencode(".tiff", deep)[1].tobytes(),
    }
    return {**jpegs, **pngs, **special_pngs, **turned, **others, **special, "nothing": b""}


def _encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def make_file(seed: int, index: int) -> tuple[str, bytes]:
    """File `index` of those of a `seed`: the kind of its original, and its bytes.

    It is mutated one to three times. Half of the files then have their PNG checksums repaired, as
    otherwise little else than checksums would be tested.
    """
    rng = np.random.default_rng([seed, index])
    kinds = sorted(originals())
    kind = kinds[rng.integers(len(kinds))]
    other = kinds[rng.integers(len(kinds))]
    data = originals()[kind]
    count = rng.integers(1, 4)
    for choice in rng.integers(len(MUTATIONS), size=count):
        data = MUTATIONS[choice](data, originals()[other], rng)
    if rng.integers(2):
        data = repair(data)
    return kind, data


def repair(data: bytes) -> bytes:
    """The file with the right checksum in each PNG chunk; what is no PNG stays what it is."""
    if not data.startswith(b"\x89PNG"):
        return data
    fixed = bytearray(data)
    position = 8
    while position + 12 <= len(data):
        # A chunk is the length of its content (4 bytes), its kind (4), content and checksum (4).
        end = position + 8 + int.from_bytes(data[position : position + 4])
        checksum = zlib.crc32(data[position + 4 : end]).to_bytes(4)
        # The file may be cut inside the checksum, or before it.
        room = max(0, len(data) - end)
        fixed[end : end + 4] = checksum[:room]
        position = end + 4
    return bytes(fixed)


def _flip(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Flips one to 16 bits."""
    flipped = bytearray(data)
    count = rng.integers(1, 17) if data else 0
    for place in rng.integers(max(1, len(data)), size=count):
        flipped[place] ^= 1 << rng.integers(8)
    return bytes(flipped)


def _cut(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Drops the end."""
    return data[: _place(data, rng)]


def _insert(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Inserts one to 64 random bytes."""
    place = _place(data, rng)
    count = rng.integers(1, 65)
    return data[:place] + rng.bytes(count) + data[place:]


def _delete(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Deletes one to 64 bytes."""
    place = _place(data, rng)
    count = rng.integers(1, 65)
    return data[:place] + data[place + count :]


def _edit_header(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Sets one to four bytes before the pixels to random or extreme values."""
    pixels = max(data.find(b"IDAT"), data.find(b"\xff\xda"))
    header = pixels if pixels > 0 else len(data)
    place = rng.integers(1 + header)
    count = rng.integers(1, 5)
    is_random = rng.integers(2)
    values = rng.bytes(count) if is_random else rng.choice(EXTREMES, count).tolist()
    return data[:place] + bytes(values) + data[place + count :]


def _splice(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Puts the end of another file after the start of this one."""
    start = data[: _place(data, rng)]
    return start + other[_place(other, rng) :]


def _concatenate(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Puts another file after this one."""
    return data + other


def _place(data: bytes, rng: np.random.Generator) -> int:
    """A position in a file, or its end."""
    return int(rng.integers(len(data) + 1))


MUTATIONS: tuple[Mutation, ...] = (
    _flip,
    _cut,
    _insert,
    _delete,
    _edit_header,
    _splice,
    _concatenate,
)


def read(seed: int, task: Task) -> str:
    """Reads one file in one way, and returns the outcome, see `Result`."""
    _, data = make_file(seed, task.file)
    rng = np.random.default_rng([seed, task.file])
    try:
        image = READERS[task.reader](data, rng)
    except ValueError:
        return REFUSED
    except Exception as error:
        return f"raised {type(error).__name__}: {error}"
    if image.shape == (SIZE, SIZE, 3) and image.dtype == np.uint8:
        return DECODED
    return f"returned {image.dtype} {image.shape}"


def examine(perform: Callable[[Any], str], tasks: Sequence[Any], limit: float) -> Iterator[Result]:
    """Yields what `perform` returns for each task, in order, even if it crashes or never returns.

    It runs in a process of its own, and in a new one after each task that ended it ("crashed:
    SIGSEGV") or that took more than `limit` seconds ("hung").
    """
    done = 0
    while done < len(tasks):
        for result in _in_one_process(perform, tasks[done:], limit):
            done += 1
            yield result


def _in_one_process(
    perform: Callable[[Any], str], tasks: Sequence[Any], limit: float
) -> Iterator[Result]:
    spawn = multiprocessing.get_context("spawn")
    receiver, sender = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_serve, args=(perform, tasks, sender), daemon=True)
    process.start()
    sender.close()
    # The process says when it has started: the limit is for tasks alone.
    receiver.recv()
    try:
        for _ in tasks:
            if not receiver.poll(limit):
                yield Result("hung", limit)
                return
            yield receiver.recv()
    except EOFError:
        process.join()
        yield Result(f"crashed: {_status(process.exitcode)}", 0.0)
    finally:
        process.kill()
        process.join()


def _status(exitcode: int) -> str:
    return signal.Signals(-exitcode).name if exitcode < 0 else f"exit status {exitcode}"


def _serve(perform: Callable[[Any], str], tasks: Sequence[Any], sender: Connection) -> None:
    # The codecs would complain there of every other file.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stderr.fileno())
    sender.send("ready")
    for task in tasks:
        start = time.perf_counter()
        outcome = perform(task)
        sender.send(Result(outcome, time.perf_counter() - start))


def fuzz(files: int, seed: int, processes: int, limit: float) -> dict[Task, Result]:
    """Reads `files` mutated files in every way, in several processes."""
    tasks = [Task(file, reader) for file in range(files) for reader in READERS]
    perform = functools.partial(read, seed)

    # Every process takes a part of the tasks, and a thread waits for it.
    parts = [tasks[first::processes] for first in range(processes)]

    def run(part: Sequence[Task]) -> list[Result]:
        return list(examine(perform, part, limit))

    results: dict[Task, Result] = {}
    with concurrent.futures.ThreadPoolExecutor(processes) as pool:
        for part, found in zip(parts, pool.map(run, parts), strict=True):
            results.update(zip(part, found, strict=True))
    return results


def describe(results: dict[Task, Result], seed: int) -> str:
    """The counts of each reader, the slowest file, and every accident."""
    counts = collections.Counter()
    for task, result in results.items():
        counts[task.reader, result.outcome] += 1
    lines = []
    for name in READERS:
        decoded, refused = counts[name, DECODED], counts[name, REFUSED]
        lines.append(f"{name:20} {decoded:6} decoded {refused:6} refused")

    slowest = max(results, key=lambda task: results[task].seconds)
    lines.append(f"slowest: {results[slowest].seconds:.2f} s for {_describe_task(slowest, seed)}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    lines.append(f"largest process: {peak:.0f} MiB")

    failed = accidents(results)
    lines.append(f"accidents: {len(failed)}")
    for task, result in failed.items():
        lines.append(f"  {_describe_task(task, seed)} {result.outcome}")
    return "\n".join(lines)


def accidents(results: dict[Task, Result]) -> dict[Task, Result]:
    """The results that are neither decoded nor refused."""
    good = (DECODED, REFUSED)
    return {task: result for task, result in results.items() if result.outcome not in good}


def _describe_task(task: Task, seed: int) -> str:
    kind, _ = make_file(seed, task.file)
    return f"file {task.file}, once {kind}, by {task.reader}:"


def define_flags() -> None:
    """Defines the command line, only when this file is run: others have flags of the same names."""
    flags.DEFINE_integer("files", 10_000, "How many files to read.", 1)
    flags.DEFINE_integer("seed", 0, "Decides what the files are.", 0)
    flags.DEFINE_integer("processes", os.cpu_count(), "How many processes read at a time.", 1)
    flags.DEFINE_float("limit", 60.0, "Seconds that one file may take.", 0.1)


def main() -> None:
    """Fuzzes the readers as the command line says, and prints the results."""
    options = flags.FLAGS
    results = fuzz(options.files, options.seed, options.processes, options.limit)
    print(describe(results, options.seed))
    if accidents(results):
        sys.exit(1)


if __name__ == "__main__":
    define_flags()
    cli.run(main)
