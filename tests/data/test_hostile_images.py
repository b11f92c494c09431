import io
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from benchmarks import fuzz
from lens_jax.data import decode, headers
from lens_jax.data.pixels import MAX_SCANS

NOISE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


def chunk(name: bytes, content: bytes) -> bytes:
    length = struct.pack(">I", len(content))
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return length + name + content + checksum


def png(height: int, width: int, *middle: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(middle) + chunk(b"IEND", b"")


def pixels(height: int, width: int) -> bytes:
    row = b"\0" + b"\x80" * 3 * width
    return chunk(b"IDAT", zlib.compress(row * height))


def segment(marker: int, content: bytes) -> bytes:
    return b"\xff" + struct.pack(">BH", marker, len(content) + 2) + content


def jpeg(
    height: int, width: int, sampling: bytes = b"\x11", scans: int = 1, comments: bytes = b""
) -> bytes:
    """A gray JPEG of one value, 128.

    Its codes for "no change" and "end of block" are single zero bits. `sampling` holds the factors
    of each channel, 4 bits for each direction. With more than one of `scans`, it is a progressive
    one, and every scan after the first says in a few bytes that nothing is in it.
    """
    is_progressive = scans > 1
    frame, band = (0xC2, b"\1\x3f\0") if is_progressive else (0xC0, b"\0\x3f\0")
    channels = range(len(sampling))

    # A table of quantization; one of codes for the first value of a block, one for the others.
    tables = segment(0xDB, b"\0" + b"\1" * 64)
    for kind, value in ((0, 0), (16, 0xE0 if is_progressive else 0)):
        tables += segment(0xC4, bytes([kind, 1, *15 * [0], value]))

    described = b"".join(bytes([each, sampling[each], 0]) for each in channels)
    size = struct.pack(">BHHB", 8, height, width, len(sampling)) + described

    first = bytes([len(sampling)])
    for each in channels:
        first += bytes([each, 0])
    first += b"\0\0\0" if is_progressive else band

    # At least as many zero bits as there are codes.
    factors = sum((each >> 4) * (each & 15) for each in sampling)
    blocks = (height // 8 + 8) * (width // 8 + 8) * 2 * factors
    body = segment(0xDA, first) + b"\0" * (blocks // 8 + 1)
    empty = b"\0" * (2 * (blocks // 16384 + 1))
    body += (scans - 1) * (segment(0xDA, b"\1\0\0" + band) + empty)
    return b"\xff\xd8" + comments + tables + segment(frame, size) + body + b"\xff\xd9"


@pytest.mark.parametrize(
    "sampling", ["11", "111111", "221111", "141111", "421111", "311111", "112222", "212111"]
)
def test_chroma_may_be_subsampled_in_any_way(sampling):
    data = jpeg(40, 56, bytes.fromhex(sampling))
    whole, resized = decode.decode(data), decode.resize(data, 16)
    assert whole.shape == (40, 56, 3)
    assert resized.shape == (16, 16, 3)
    assert (whole == 128).all()
    assert (resized == 128).all()


@pytest.mark.parametrize(
    "stray", [b"\0\0\0", b"\xff\xff\xff", b"\xff\0", b"\xff\xd0", segment(0xE5, b"\xff\xc0any")]
)
def test_stray_bytes_in_front_of_the_frame_do_not_hide_its_size(stray):
    data = jpeg(40, 56, comments=segment(0xFE, b"any") + stray)
    assert decode.decode(data).shape == (40, 56, 3)


def test_only_whole_files_of_known_formats_are_read():
    for kind, data in fuzz.originals().items():
        if kind in ("nothing", "PPM"):
            with pytest.raises(ValueError, match=headers.INVALID):
                decode.decode(data)
        else:
            shape = (375, 500, 3) if kind == "large JPEG" else (64, 96, 3)
            assert decode.decode(data).shape == shape


def test_of_an_animation_the_first_image_is_read():
    file = io.BytesIO()
    later = [Image.fromarray(np.zeros_like(NOISE))] * 2
    Image.fromarray(NOISE).save(file, "PNG", save_all=True, append_images=later)
    np.testing.assert_array_equal(decode.decode(file.getvalue()), NOISE)


@pytest.mark.parametrize("make", [png, jpeg])
@pytest.mark.parametrize(
    ("height", "width"), [(0, 8), (8, 0), (60_000, 60_000), (2**14 + 1, 2**13)]
)
def test_illegal_sizes_are_named(make, height, width):
    with pytest.raises(
        ValueError, match=f"{width} x {height} pixels, where 1 to 134217728 are legal"
    ):
        decode.decode(make(height, width)[:200])


@pytest.mark.parametrize("make", [png, jpeg])
def test_the_largest_legal_size_is_not_refused_for_it(make):
    with pytest.raises(ValueError, match="not a complete image"):
        decode.decode(make(2**14, 2**13)[:130])


def test_many_scans_of_a_jpeg_are_refused():
    assert (decode.decode(jpeg(64, 64, scans=MAX_SCANS)) == 128).all()
    with pytest.raises(ValueError, match="a JPEG of more than 100 scans"):
        decode.decode(jpeg(64, 64, scans=MAX_SCANS + 1))


ZEROS = chunk(b"IDAT", zlib.compress(b"\0" * 2_000_000))
TEXT = chunk(b"zTXt", b"any\0\0" + zlib.compress(b" " * 7_900_000))
# The claimed length of a chunk, and its name.
CHUNK_OF_4_GB = struct.pack(">I", 0xFFFFFFF0) + b"PLTE"
CHUNK_OF_2_GB = struct.pack(">I", 0x7FFFFFF0) + b"IDAT"
BOMBS = {
    "an image of 60000 x 60000 pixels": png(60_000, 60_000, ZEROS),
    "an image of 65500 x 65500 pixels": jpeg(65_500, 65_500)[:4_000],
    "a chunk that claims 4 GB": png(8, 8, CHUNK_OF_4_GB, pixels(8, 8)),
    "pixels that claim 2 GB": png(8, 8, CHUNK_OF_2_GB),
    "a text of 200 MB": png(8, 8, TEXT * 25, pixels(8, 8)),
}
READ = """
import json, pathlib, resource, sys
import numpy as np
from lens_jax.data import decode

def crop(data):
    return decode.random_crop_resize(data, 8, np.random.default_rng(0))

def read(path):
    data = pathlib.Path(path).read_bytes()
    for each in (decode.decode, crop):
        try:
            each(data)
            outcome = "decoded"
        except ValueError as error:
            outcome = str(error)
    return outcome

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

read(sys.argv[1])
before = peak()
print(json.dumps({path: (read(path), peak() - before) for path in sys.argv[1:]}))
"""


def test_small_files_that_want_much_memory_do_not_get_it(tmp_path):
    files = [png(8, 8, pixels(8, 8)), *BOMBS.values()]
    paths = []
    for index, data in enumerate(files):
        assert len(data) < 250_000
        paths.append(tmp_path / str(index))
        paths[-1].write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", READ, *paths], capture_output=True, text=True, check=True
    )
    results = list(json.loads(done.stdout).values())
    outcomes = dict(zip(BOMBS, [outcome for outcome, _ in results[1:]], strict=True))
    legal = "where 1 to 134217728 are legal"
    assert outcomes == {
        "an image of 60000 x 60000 pixels": f"an image of 60000 x 60000 pixels, {legal}",
        "an image of 65500 x 65500 pixels": f"an image of 65500 x 65500 pixels, {legal}",
        "a chunk that claims 4 GB": headers.INVALID,
        "pixels that claim 2 GB": headers.INVALID,
        "a text of 200 MB": "decoded",
    }
    # The MiB of the last are the most of all, beyond those of an image of 8 x 8 pixels.
    assert results[-1][1] < 16


def test_mutated_files_are_decoded_or_refused():
    results = fuzz.fuzz(files=200, seed=1, processes=1, limit=60.0)
    assert fuzz.accidents(results) == {}
    for reader in fuzz.READERS:
        outcomes = [result.outcome for task, result in results.items() if task.reader == reader]
        assert len(outcomes) == 200
        assert outcomes.count(fuzz.DECODED) > 20
        assert outcomes.count(fuzz.REFUSED) > 20


def test_the_header_holds_the_size_of_whatever_decodes():
    for index in range(200):
        data = fuzz.make_file(2, index)[1]
        try:
            image = decode.decode(data)
        except ValueError:
            continue
        assert headers.read_header(data)[:2] == image.shape[:2]


def test_a_mutated_file_is_a_function_of_seed_and_index():
    files, again, others = (
        [fuzz.make_file(seed, index)[1] for index in range(50)] for seed in (0, 0, 1)
    )
    assert files == again
    assert len({*files, *others}) > 90


def test_checksums_are_repaired():
    data = png(8, 8, pixels(8, 8))
    broken = bytearray(data)
    broken[29:33] = b"none"
    assert fuzz.repair(bytes(broken)) == data
    assert fuzz.repair(data[:-2]) == data[:-2]
    assert fuzz.repair(b"no image") == b"no image"


def accident(task: str) -> str:
    if task == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if task == "sleep":
        time.sleep(600)
    return task


def test_what_crashes_or_hangs_is_reported_and_the_rest_goes_on():
    tasks = ["fine", "segfault", "sleep", "well"]
    outcomes = [result.outcome for result in fuzz.examine(accident, tasks, limit=1.0)]
    assert outcomes == ["fine", "crashed: SIGSEGV", "hung", "well"]


def test_the_description_counts_and_names():
    results = {
        fuzz.Task(0, "resize"): fuzz.Result(fuzz.DECODED, 0.1),
        fuzz.Task(1, "resize"): fuzz.Result(fuzz.REFUSED, 0.2),
        fuzz.Task(2, "resize"): fuzz.Result("hung", 0.5),
    }
    lines = fuzz.describe(results, seed=0).splitlines()
    assert lines[0].split() == ["resize", "1", "decoded", "1", "refused"]
    assert lines[3].startswith("slowest: 0.50 s for file 2, once ")
    assert lines[5] == "accidents: 1"
    assert lines[6].endswith("by resize: hung")
