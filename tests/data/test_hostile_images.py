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
from lens_jax.data import decode

NOISE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


def chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def png(height: int, width: int, *middle: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(middle) + chunk(b"IEND", b"")


def pixels(height: int, width: int) -> bytes:
    return chunk(b"IDAT", zlib.compress((b"\0" + b"\x80" * 3 * width) * height))


def segment(marker: int, content: bytes) -> bytes:
    return b"\xff" + struct.pack(">BH", marker, len(content) + 2) + content


def jpeg(
    height: int, width: int, sampling: bytes = b"\x11", scans: int = 1, comments: bytes = b""
) -> bytes:
    """A gray JPEG of one value, 128: its codes for "no change" and "end of block" are single zero
    bits.

    `sampling` holds the factors of each channel, 4 bits for each direction. With more than one of
    `scans`, it is a progressive one. Every scan after the first says in a few bytes that nothing is
    in it.
    """
    frame, band = (0xC2, b"\1\x3f\0") if scans > 1 else (0xC0, b"\0\x3f\0")
    channels = range(len(sampling))
    tables = segment(0xDB, b"\0" + b"\1" * 64) + b"".join(
        segment(0xC4, bytes([kind, 1, *15 * [0], value]))
        for kind, value in ((0, 0), (16, 0xE0 * (scans > 1)))
    )
    described = b"".join(bytes([each, sampling[each], 0]) for each in channels)
    size = struct.pack(">BHHB", 8, height, width, len(sampling)) + described
    first = bytes([len(sampling)]) + b"".join(bytes([each, 0]) for each in channels)
    first += b"\0\0\0" if scans > 1 else band
    blocks = (
        (height // 8 + 8)
        * (width // 8 + 8)
        * 2
        * sum((each >> 4) * (each & 15) for each in sampling)
    )
    more = segment(0xDA, b"\1\0\0" + band) + b"\0" * (2 * (blocks // 16384 + 1))
    body = segment(0xDA, first) + b"\0" * (blocks // 8 + 1) + more * (scans - 1)
    return b"\xff\xd8" + comments + tables + segment(frame, size) + body + b"\xff\xd9"


@pytest.mark.parametrize(
    "sampling", ["11", "111111", "221111", "141111", "421111", "311111", "112222", "212111"]
)
def test_chroma_may_be_subsampled_in_any_way(sampling):
    data = jpeg(40, 56, bytes.fromhex(sampling))
    np.testing.assert_array_equal(decode.decode(data), np.full((40, 56, 3), 128))
    np.testing.assert_array_equal(decode.resize(data, 16), np.full((16, 16, 3), 128))


@pytest.mark.parametrize(
    "stray", [b"\0\0\0", b"\xff\xff\xff", b"\xff\0", b"\xff\xd0", segment(0xE5, b"\xff\xc0any")]
)
def test_stray_bytes_in_front_of_the_frame_do_not_hide_its_size(stray):
    assert decode.decode(jpeg(40, 56, comments=segment(0xFE, b"any") + stray)).shape == (40, 56, 3)


def test_only_whole_jpeg_and_png_are_read():
    for kind, data in fuzz.originals().items():
        if kind.endswith(("JPEG", "PNG")):
            assert decode.decode(data).shape == (
                (375, 500, 3) if kind == "large JPEG" else (64, 96, 3)
            )
        else:
            with pytest.raises(ValueError, match="not a complete image in JPEG or PNG format"):
                decode.decode(data)


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
    assert (decode.decode(jpeg(64, 64, scans=decode.MAX_SCANS)) == 128).all()
    with pytest.raises(ValueError, match="a JPEG of more than 100 scans"):
        decode.decode(jpeg(64, 64, scans=decode.MAX_SCANS + 1))


BOMBS = {
    "an image of 60000 x 60000 pixels": png(
        60_000, 60_000, chunk(b"IDAT", zlib.compress(b"\0" * 2_000_000))
    ),
    "an image of 65500 x 65500 pixels": jpeg(65_500, 65_500)[:4_000],
    "a chunk that claims 4 GB": png(8, 8, struct.pack(">I", 0xFFFFFFF0) + b"PLTE", pixels(8, 8)),
    "pixels that claim 2 GB": png(8, 8, struct.pack(">I", 0x7FFFFFF0) + b"IDAT"),
    "a text of 200 MB": png(
        8, 8, chunk(b"zTXt", b"any\0\0" + zlib.compress(b" " * 7_900_000)) * 25, pixels(8, 8)
    ),
}
READ = """
import json, pathlib, resource, sys
import numpy as np
from lens_jax.data import decode

def read(path):
    data = pathlib.Path(path).read_bytes()
    for each in (decode.decode, lambda data: decode.random_crop_resize(data, 8, np.random.default_rng(0))):
        try:
            each(data)
            outcome = "decoded"
        except ValueError as error:
            outcome = str(error)
    return outcome

peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
read(sys.argv[1])
before = peak()
print(json.dumps({path: (read(path), peak() - before) for path in sys.argv[1:]}))
"""


def test_small_files_that_want_much_memory_do_not_get_it(tmp_path):
    paths = [tmp_path / str(index) for index in range(len(BOMBS) + 1)]
    for path, data in zip(paths, [png(8, 8, pixels(8, 8)), *BOMBS.values()], strict=True):
        assert len(data) < 250_000
        path.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", READ, *paths], capture_output=True, text=True, check=True
    )
    (_, huge), (_, wide), (_, chunks), (_, last), (_, text) = zip(
        BOMBS, list(json.loads(done.stdout).values())[1:], strict=True
    )
    assert huge[0] == "an image of 60000 x 60000 pixels, where 1 to 134217728 are legal"
    assert wide[0] == "an image of 65500 x 65500 pixels, where 1 to 134217728 are legal"
    assert chunks[0] == last[0] == "not a complete image in JPEG or PNG format"
    assert text[0] == "decoded"
    assert (
        text[1] < 16
    )  # MiB more than an image of 8 x 8 pixels takes; it is the largest of all so far


def test_mutated_files_are_decoded_or_refused():
    results = fuzz.fuzz(files=200, seed=1, processes=1, limit=60.0)
    assert fuzz.accidents(results) == {}
    for reader in fuzz.READERS:
        outcomes = [result.outcome for task, result in results.items() if task.reader == reader]
        assert len(outcomes) == 200
        assert min(outcomes.count(fuzz.DECODED), outcomes.count(fuzz.REFUSED)) > 20


def test_the_header_tells_the_size_of_whatever_decodes():
    for index in range(200):
        data = fuzz.make_file(2, index)[1]
        try:
            image = decode.decode(data)
        except ValueError:
            continue
        asked = []
        decode._crop_resize(data, 8, lambda *shape: asked.append(shape) or decode.Box(0, 0, *shape))  # noqa: B023
        assert asked == [image.shape[:2]]


def test_a_mutated_file_is_a_matter_of_its_numbers():
    files = [fuzz.make_file(0, index)[1] for index in range(50)]
    assert [fuzz.make_file(0, index)[1] for index in range(50)] == files
    assert len({*files, *(fuzz.make_file(1, index)[1] for index in range(50))}) > 90


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


def test_what_crashes_or_hangs_is_told_and_the_rest_goes_on():
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
