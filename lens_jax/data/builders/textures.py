"""Makes the textures of images, which training reads as their non-semantic negatives.

As in the code of Ge et al., 2021 (arXiv 2110.14189), a texture is synthesized from two patches of
the image in its own resolution, 96 px each: the central one and one at a random place. Theirs is
the multiresolution sampler of EmbarkStudios' `texture-synthesis`; ours is image quilting, in
`data.synthesis`.

A folder holds one PNG file for each image of a split, see `data.textures`, and a texture is a
function of the image, its index and the sides. So what was killed goes on where it was.
"""

import functools
import itertools
import json
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import cv2
import numpy as np
from etils import epath

from lens_jax.data import headers, preparation, synthesis, textures
from lens_jax.data.builders import png
from lens_jax.data.decode import Decoding, decode
from lens_jax.data.records import Source
from lens_jax.data.source import names, open_source
from lens_jax.errors import UserError

# Of a patch's side, as 32 of 96 px.
BLOCK = 1 / 3
LEAST_PATCH = 8
_SEED = 0
_CHUNK = 64
_NAMED = 3
_SECONDS_BETWEEN_LINES = 60.0


class Images(NamedTuple):
    """The split of a data set whose textures are made; "image_folder" is in `data_dir` itself."""

    name: str
    split: str
    data_dir: str

    def open(self) -> Source:
        """The images; raises `UserError` where they are not there."""
        return open_source(self.name, self.split, self.data_dir)


def prepare(source: str, split: str, data_dir: str, patch: int, size: int) -> None:
    """Makes the textures that are not there yet, on all cores, and prints where they are.

    Args:
      source: the name of a prepared data set, see `open_source`, or a folder of images.
      split: whose images have textures.
      data_dir: the folder of all data sets, of which "textures" in it is written to.
      patch: side of the patches in pixels of the images.
      size: side of the textures in pixels.

    Raises:
      UserError: there are no such images, or some are smaller than a patch; or the folder holds
        textures that were made otherwise.

    """
    images = Images(source, split, data_dir)
    is_folder = os.path.isdir(os.path.expanduser(source))
    if is_folder and source not in names():
        images = Images("image_folder", split, source)
    opened = images.open()
    folder = folder_of(opened, data_dir)
    count = len(opened)

    with _start_pool() as pool:
        # What cannot be comes out before anything is made.
        find = functools.partial(find_small, images=images, patch=patch)
        everything = _chunks(range(count))
        _check_sides(opened, pool.map(find, everything), patch)
        _claim(folder, textures.describe(opened, patch, size))

        missing = textures.find_missing(folder, count)
        print(f"{count - len(missing):,} of {count:,} textures are in {folder}", flush=True)
        make = functools.partial(
            make_textures, images=images, folder=folder, patch=patch, size=size
        )
        _follow(pool.map(make, _chunks(missing)), len(missing))
    print(f"{folder} holds {count:,} textures: train with --config.data.textures={folder}")


def folder_of(source: Source, data_dir: str) -> epath.Path:
    """Where the textures of a source are, such as DIR/textures/photo_crops/64/1.0.0/train."""
    name = source.dataset
    if name == "image_folder":
        name += f"/{os.path.basename(os.path.abspath(source.folder))}"
    return preparation.data_folder(data_dir) / "textures" / name / source.split


def cut_patches(image: np.ndarray, patch: int, rng: np.random.Generator) -> list[np.ndarray]:
    """The central square of `patch` px of an image [h, w, 3], and one at a random place."""
    height, width, _ = image.shape
    # How far a square can move down and to the right.
    room = np.array([height - patch, width - patch])
    center = room // 2
    elsewhere = rng.integers(room + 1)

    squares = []
    for top, left in (center, elsewhere):
        bottom = top + patch
        right = left + patch
        squares.append(image[top:bottom, left:right])
    return squares


def make_texture(image: np.ndarray, index: int, patch: int, size: int) -> np.ndarray:
    """The texture of an image, uint8 [size, size, 3]; the index seeds what is random."""
    rng = np.random.default_rng((_SEED, index))
    examples = cut_patches(image, patch, rng)
    block = round(BLOCK * patch)
    return synthesis.synthesize(examples, size, block, rng)


# Each process of the pool opens the images once, for all its chunks.
_opened = functools.cache(Images.open)


def find_small(indices: list[int], images: Images, patch: int) -> list[str]:
    """The names of the images that have no room for a patch; what is no image is none of them."""
    small = []
    source = _opened(images)
    for index in indices:
        record = source[index]
        try:
            header = headers.read_header(record["image"])
        except ValueError:
            continue
        if min(header.height, header.width) < patch:
            small.append(record["name"])
    return small


def make_textures(
    indices: list[int], images: Images, folder: epath.Path, patch: int, size: int
) -> list[str]:
    """Makes the textures of some images; returns the names of those that do not decode.

    These have an empty file, so that they are not missing: training skips the images.
    """
    broken = []
    source = _opened(images)
    for index in indices:
        record = source[index]
        content = b""
        try:
            image = decode(record["image"], Decoding(upright=source.upright))
            content = png.encode(make_texture(image, index, patch, size))
        except ValueError:
            broken.append(record["name"])
        _write_whole(textures.path_of(folder, index), content)
    return broken


def _write_whole(path: epath.Path, content: bytes) -> None:
    """Writes a file that is there only once it is complete, whenever the process is killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.parent / f".{path.name}-{os.getpid()}"
    unfinished.write_bytes(content)
    unfinished.replace(path)


def _start_pool() -> ProcessPoolExecutor:
    # Not forked: a fork would copy the locks of the threads that TensorFlow has started.
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(os.cpu_count(), spawn, _start_worker)


def _start_worker() -> None:
    # The processes share the cores among them.
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process with the one that started it, which may be killed without a word."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _chunks(indices: Any) -> Iterator[list[int]]:
    for start in range(0, len(indices), _CHUNK):
        yield list(indices[start : start + _CHUNK])


def _check_sides(source: Source, found: Iterator[list[str]], patch: int) -> None:
    small = list(itertools.chain.from_iterable(found))
    if small:
        first = ", ".join(small[:_NAMED])
        raise UserError(
            f"{len(small):,} of {len(source):,} images have a side below --patch={patch} px, such "
            f"as {first}: give a smaller --patch, at least {LEAST_PATCH}, or remove them"
        )


def _claim(folder: epath.Path, about: dict[str, Any]) -> None:
    """Says in the folder what it holds; raises `UserError` where it holds something else."""
    present = textures.read_about(folder)
    if present is None:
        folder.mkdir(parents=True, exist_ok=True)
        _write_whole(folder / textures.ABOUT, json.dumps(about, indent=2).encode())
    elif present != about:
        changed = [f"{key} {present[key]}" for key in about if present.get(key) != about[key]]
        raise UserError(
            f"{folder} holds textures with {', '.join(changed)}: give the same, or remove it"
        )


def _follow(results: Iterator[list[str]], total: int) -> None:
    """Waits for all results, and prints how far they are and which images did not decode."""
    began = time.monotonic()
    told = began
    broken = []
    for number, found in enumerate(results, start=1):
        broken += found
        now = time.monotonic()
        if now - told > _SECONDS_BETWEEN_LINES:
            told = now
            done = min(number * _CHUNK, total)
            rate = done / (now - began)
            print(f"made {done:,} of {total:,} textures, {rate:.1f} a second", flush=True)
    if broken:
        first = ", ".join(broken[:_NAMED])
        print(f"made none of {len(broken)} images that do not decode: {first}")
