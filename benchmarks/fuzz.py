"""Reads thousands of mutated JPEG and PNG files, and counts which are decoded and which refused.

    python -m benchmarks.fuzz --files=10000 --seed=0

Every file goes through the three ways in which images are read. That has to give an image of the
size asked for or a ValueError. Whatever else happens is listed, and the exit status is 1 then:
other exceptions, images of another shape, a crash of the process, or more time than --limit.
"""

import argparse
import collections
import concurrent.futures
import functools
import io
import itertools
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
from PIL import Image, PngImagePlugin

from lens_jax.data import decode

SIZE = 32
READERS: dict[str, Callable[[bytes, np.random.Generator], np.ndarray]] = {
    "resize": lambda data, rng: decode.resize(data, SIZE),
    "central_crop_resize": lambda data, rng: decode.central_crop_resize(data, SIZE),
    "random_crop_resize": lambda data, rng: decode.random_crop_resize(data, SIZE, rng),
}
DECODED, REFUSED = "decoded", "refused"
EXTREMES = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF)
Mutation = Callable[[bytes, bytes, np.random.Generator], bytes]


class Task(NamedTuple):
    """One way to read one file: the file's number, and a key of `READERS`."""

    file: int
    reader: str


class Result(NamedTuple):
    """What came of a task: `DECODED`, `REFUSED` or what happened instead, and in how many seconds."""

    outcome: str
    seconds: float


@functools.cache
def originals() -> dict[str, bytes]:
    """Whole files by what they are: JPEG and PNG of all kinds, and what is neither."""
    rng = np.random.default_rng(0)
    smooth = cv2.resize(
        rng.integers(0, 256, (4, 6, 3), np.uint8), (96, 64), interpolation=cv2.INTER_CUBIC
    )
    image = Image.fromarray(smooth)
    noted = PngImagePlugin.PngInfo()
    noted.add_text("Comment", "any " * 100, zip=True)
    return {
        "JPEG": _encode(image, "JPEG"),
        "large JPEG": _encode(image.resize((500, 375)), "JPEG"),
        "progressive JPEG": _encode(image, "JPEG", progressive=True),
        "gray JPEG": _encode(image.convert("L"), "JPEG", comment=b"any"),
        "CMYK JPEG": _encode(image.convert("CMYK"), "JPEG"),
        "PNG": _encode(image, "PNG"),
        "gray PNG": _encode(image.convert("L"), "PNG"),
        "1 bit PNG": _encode(image.convert("1"), "PNG"),
        "16 bit PNG": cv2.imencode(".png", 257 * smooth.astype(np.uint16))[1].tobytes(),
        "palette PNG": _encode(image.quantize(16), "PNG", transparency=3),
        "transparent PNG": _encode(image.convert("RGBA"), "PNG", pnginfo=noted),
        "animated PNG": _encode(image, "PNG", save_all=True, append_images=[image.rotate(90)] * 2),
        **{kind: _encode(image, kind) for kind in ("GIF", "WEBP", "BMP", "TIFF")},
        "nothing": b"",
    }


def _encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def make_file(seed: int, index: int) -> tuple[str, bytes]:
    """File `index` of those of a `seed`: what it was made from, and its bytes after one to three
    mutations.

    In every other PNG, the checksums are made to fit again, as little else than them would be
    tested.
    """
    rng = np.random.default_rng([seed, index])
    kinds = sorted(originals())
    kind, other = (kinds[rng.integers(len(kinds))] for _ in range(2))
    data = originals()[kind]
    for choice in rng.integers(len(MUTATIONS), size=rng.integers(1, 4)):
        data = MUTATIONS[choice](data, originals()[other], rng)
    return kind, repair(data) if rng.integers(2) else data


def repair(data: bytes) -> bytes:
    """The file with the checksum of each PNG chunk as it should be; what is no PNG remains what it is."""
    fixed, at = bytearray(data), 8
    while data.startswith(b"\x89PNG") and at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4])
        fixed[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4)[: max(0, len(data) - end)]
        at = end + 4
    return bytes(fixed)


def _flip(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    flipped = bytearray(data)
    for place in rng.integers(max(1, len(data)), size=rng.integers(1, 17) if data else 0):
        flipped[place] ^= 1 << rng.integers(8)
    return bytes(flipped)


def _cut(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(len(data) + 1)]


def _insert(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    place = rng.integers(len(data) + 1)
    return data[:place] + rng.bytes(rng.integers(1, 65)) + data[place:]


def _delete(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    place = rng.integers(len(data) + 1)
    return data[:place] + data[place + rng.integers(1, 65) :]


def _edit_header(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Sets one to four bytes in front of the pixels to random or extreme values."""
    pixels = max(data.find(b"IDAT"), data.find(b"\xff\xda"))
    place, count = rng.integers(1 + (pixels if pixels > 0 else len(data))), rng.integers(1, 5)
    values = rng.bytes(count) if rng.integers(2) else bytes(rng.choice(EXTREMES, count).tolist())
    return data[:place] + values + data[place + count :]


def _splice(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(len(data) + 1)] + other[rng.integers(len(other) + 1) :]


def _concatenate(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    return data + other


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
    """Reads one file in one way, and says what came of it."""
    data = make_file(seed, task.file)[1]
    try:
        image = READERS[task.reader](data, np.random.default_rng([seed, task.file]))
    except ValueError:
        return REFUSED
    except Exception as error:
        return f"raised {type(error).__name__}: {error}"
    right = image.shape == (SIZE, SIZE, 3) and image.dtype == np.uint8
    return DECODED if right else f"gave {image.dtype} {image.shape}"


def examine(perform: Callable[[Any], str], tasks: Sequence[Any], limit: float) -> Iterator[Result]:
    """What `perform` says of each task, in order; it may well crash or never return.

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
    # The limit is one on tasks, not on the start of a process.
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
    # The codecs complain there of every other file.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    sender.send("ready")
    for task in tasks:
        start = time.perf_counter()
        outcome = perform(task)
        sender.send(Result(outcome, time.perf_counter() - start))


def fuzz(files: int, seed: int, processes: int, limit: float) -> dict[Task, Result]:
    """Reads `files` mutated files in every way, in several processes."""
    tasks = [Task(*pair) for pair in itertools.product(range(files), READERS)]

    def share(first: int) -> list[tuple[Task, Result]]:
        part = tasks[first::processes]
        return list(zip(part, examine(functools.partial(read, seed), part, limit), strict=True))

    with concurrent.futures.ThreadPoolExecutor(processes) as pool:
        return dict(itertools.chain.from_iterable(pool.map(share, range(processes))))


def describe(results: dict[Task, Result], seed: int) -> str:
    """The counts of each reader, the slowest file, and every accident."""
    counts = collections.Counter((task.reader, result.outcome) for task, result in results.items())
    slowest = max(results, key=lambda task: results[task].seconds)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    failed = accidents(results)
    return "\n".join(
        [
            *(
                f"{name:20} {counts[name, DECODED]:6} decoded {counts[name, REFUSED]:6} refused"
                for name in READERS
            ),
            f"slowest: {results[slowest].seconds:.2f} s for {_named(slowest, seed)}",
            f"largest process: {peak:.0f} MiB",
            f"accidents: {len(failed)}",
            *(f"  {_named(task, seed)} {result.outcome}" for task, result in failed.items()),
        ]
    )


def accidents(results: dict[Task, Result]) -> dict[Task, Result]:
    """What was neither decoded nor refused."""
    return {task: each for task, each in results.items() if each.outcome not in (DECODED, REFUSED)}


def _named(task: Task, seed: int) -> str:
    return f"file {task.file}, once {make_file(seed, task.file)[0]}, by {task.reader}:"


def main() -> None:
    """Fuzzes the readers as the command line says, and prints what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=10_000, help="how many files to read")
    parser.add_argument("--seed", type=int, default=0, help="decides what the files are")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count(), help="how many read at a time"
    )
    parser.add_argument("--limit", type=float, default=60.0, help="seconds that one file may take")
    options = parser.parse_args()
    results = fuzz(options.files, options.seed, options.processes, options.limit)
    print(describe(results, options.seed))
    sys.exit(bool(accidents(results)))


if __name__ == "__main__":
    main()
