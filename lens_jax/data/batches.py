"""Batches of decoded images: endless and shuffled for training, one ordered pass for evaluation.

What a batch holds, row by row, is a function of the seed and the step alone. Processes that share
the work each read one block of its rows: concatenated, their blocks are the batch that one process
reads.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import grain
import numpy as np
from absl import logging

from lens_jax.data import decode
from lens_jax.data.crops import CROPS, EVAL_CROPS, choose_crop
from lens_jax.data.decode import AS_THE_DATA_SET, Decoding
from lens_jax.data.records import Record, Source
from lens_jax.data.regions import WHOLE, Region
from lens_jax.errors import UserError

Example = dict[str, np.ndarray]
# (encoded image, its part) -> uint8 [side, side, 3]; raises ValueError for what does not decode.
Cut = Callable[[bytes, Region], np.ndarray]
# The index of the rows that fill up the last batch of a pass.
NO_INDEX = -1


class Batches(Protocol):
    """An iterator over batches whose position can be saved and restored."""

    def __next__(self) -> Example:
        """The next batch."""

    def __iter__(self) -> Iterator[Example]:
        """Itself."""

    def get_state(self) -> dict[str, int]:
        """The position: small, fit for JSON, and the same in all processes."""

    def set_state(self, state: dict[str, int]) -> None:
        """Continues from a position that `get_state` returned."""


class Skipped:
    """The images of a source that did not decode; any thread may add to them."""

    def __init__(self, source: Source):
        self._size = len(source)
        self._names: set[str] = set()
        self._lock = threading.Lock()

    @property
    def names(self) -> frozenset[str]:
        """The names of the images, see `Record`."""
        with self._lock:
            return frozenset(self._names)

    def add(self, name: str, reason: Exception) -> None:
        """Adds an image, and logs it the first time."""
        with self._lock:
            new = name not in self._names
            self._names.add(name)
        if new:
            logging.warning("skipped an image that does not decode: %s (%s)", name, reason)

    def check(self, limit: float) -> None:
        """Raises a `UserError` where more than a fraction `limit` of the source was skipped.

        Args:
          limit: the largest legal fraction, in [0, 1].

        """
        names = sorted(self.names)
        if len(names) > limit * self._size:
            raise UserError(
                f"{len(names)} of {self._size} images did not decode, more than the limit of "
                f"{limit:.2%}: {', '.join(names[:3])}; repair or remove them, or raise the limit"
            )


def train_batches(
    source: Source,
    skipped: Skipped,
    *,
    batch_size: int,
    image_size: int,
    crop: str,
    seed: int,
    shard: int = 0,
    shards: int = 1,
    threads: int = 8,
    decoding: Decoding = AS_THE_DATA_SET,
) -> Batches:
    """Reads a source forever, newly shuffled every epoch.

    Every epoch holds each example once, over all processes; a batch may span two epochs. An image
    that does not decode is added to `skipped`, and the next one of the source that does takes its
    place.

    Args:
      source: what to read.
      skipped: takes the images that do not decode; the caller has to `check` it.
      batch_size: examples in a batch of all processes together.
      image_size: side of the images in pixels.
      crop: a key of `CROPS`.
      seed: decides the order and the crops, in [0, 2**32).
      shard: which block of rows of every batch this process reads, in [0, shards).
      shards: number of processes that share the batches.
      threads: batches that are read at a time.
      decoding: how values become pixels; by default, images are turned where the source wants it.

    Returns:
      Batches of rows = batch_size / shards examples: "image", uint8 [rows, image_size, image_size,
      3]; "label", int32 [rows]; and "index", int32 [rows], which example of its whole data set each
      image is (see `Source.locate`). It is the index of the image that is shown: where the next
      image takes the place of another, it is the next one's. Where examples are pairs, "image" is
      the first image of each, and "partner" the other, of the same shape. Where the source has
      textures beside its images, "texture" is like "image", the whole texture.

    Raises:
      UserError: an unknown crop, or a batch size that the processes cannot share evenly.

    """
    cut = choose_crop(crop, tuple(CROPS))
    rows = _rows_per_process(batch_size, shards)
    decoding = decode.resolve(decoding, source.upright)

    def load(index: int, rng: np.random.Generator) -> Example:
        def cut_image(data: bytes, region: Region) -> np.ndarray:
            return cut(data, region, image_size, rng, decoding)

        def read_texture(data: bytes, region: Region) -> np.ndarray:
            del region  # of the image
            return decode.resize(data, image_size)

        return _load_or_next(source, skipped, index, {"image": cut_image, "texture": read_texture})

    # Repeated after it is shuffled: an epoch ends before the next one begins.
    order = grain.MapDataset.range(len(source)).seed(seed).shuffle().repeat()
    examples = order.random_map(load)
    batches = _own_rows(examples, shard, shards, rows)
    return _iterate(batches, threads)


def eval_batches(
    source: Source,
    skipped: Skipped,
    *,
    batch_size: int,
    image_size: int,
    crop: str,
    shard: int = 0,
    shards: int = 1,
    threads: int = 8,
    decoding: Decoding = AS_THE_DATA_SET,
) -> Batches:
    """Reads a source once, in its order, and drops nothing.

    "mask" is False where a row shows no example, and its image is black. There are two cases: the
    last batch is filled up, so that all processes get equally many batches, and these rows have
    "index" -1; and an image may not decode, which keeps its index and is added to `skipped`.

    Args:
      source: what to read.
      skipped: takes the images that do not decode; the caller has to `check` it.
      batch_size: examples in a batch of all processes together.
      image_size: side of the images in pixels.
      crop: one of `EVAL_CROPS`.
      shard: which block of rows of every batch this process reads, in [0, shards).
      shards: number of processes that share the batches.
      threads: batches that are read at a time.
      decoding: how values become pixels; by default, images are turned where the source wants it.

    Returns:
      Batches like those of `train_batches`, with "mask", bool [batch_size / shards], besides.

    Raises:
      UserError: an unknown crop, or a batch size that the processes cannot share evenly.

    """
    cut = choose_crop(crop, EVAL_CROPS)
    rows = _rows_per_process(batch_size, shards)
    decoding = decode.resolve(decoding, source.upright)
    black = np.zeros((image_size, image_size, 3), np.uint8)

    def cut_image(data: bytes, region: Region) -> np.ndarray:
        return cut(data, region, image_size, None, decoding)

    def load(index: int) -> Example:
        if index >= len(source):
            return _example(black, 0, NO_INDEX) | {"mask": np.bool_(False)}
        record = source[index]
        image = _cut_or_skip(record, skipped, "image", cut_image)
        decodes = image is not None
        shown = image if decodes else black
        original = source.locate(index)
        example = _example(shown, record["label"], original)
        return example | {"mask": np.bool_(decodes)}

    # Rounded up to whole batches.
    padded = -(-len(source) // batch_size) * batch_size
    examples = grain.MapDataset.range(padded).map(load)
    batches = _own_rows(examples, shard, shards, rows)
    return _iterate(batches, threads)


def _rows_per_process(batch_size: int, shards: int) -> int:
    if batch_size < 1 or batch_size % shards:
        raise UserError(
            f"batch size {batch_size} cannot be shared by {shards} processes: "
            f"use a multiple of {shards}"
        )
    return batch_size // shards


def _own_rows(examples: grain.MapDataset, shard: int, shards: int, rows: int) -> grain.MapDataset:
    """A process's block of `rows` rows of every batch of `shards * rows` examples.

    Devices hold blocks of a batch in the order of their processes. So an example has the same row,
    and the same random draws for that row, whatever the number of processes.
    """
    # There is no remainder to drop. But without dropping, grain rounds the endless length up to
    # more than len() can return.
    blocks = examples.batch(rows, drop_remainder=True)
    return blocks[shard::shards]


def _iterate(batches: grain.MapDataset, threads: int) -> Batches:
    options = grain.ReadOptions(threads, prefetch_buffer_size=threads)
    dataset = batches.to_iter_dataset(options)
    return iter(dataset)


def _example(image: np.ndarray, label: int, index: int) -> Example:
    return {
        "image": image,
        "label": np.int32(label),
        "index": np.int32(index),
    }


def _load_or_next(source: Source, skipped: Skipped, index: int, cuts: Mapping[str, Cut]) -> Example:
    """Reads and cuts the example at `index`, or the first one after it that decodes.

    With the other image of a pair, or the texture, where the source has them; `cuts` says how to
    cut images and textures.
    """
    size = len(source)
    for offset in range(size):
        candidate = (index + offset) % size
        record = source[candidate]
        pictures = {}
        for key in cuts.keys() & record.keys():
            pictures[key] = _cut_or_skip(record, skipped, key, cuts[key])
        if source.read_partner is not None:
            partner = source.read_partner(candidate)
            pictures["partner"] = _cut_or_skip(partner, skipped, "image", cuts["image"])
        if all(picture is not None for picture in pictures.values()):
            original = source.locate(candidate)
            return _example(pictures["image"], record["label"], original) | pictures
    first = source[0]["name"]
    raise UserError(f"none of the {size} images decodes, from {first} on: replace them")


def _cut_or_skip(record: Record, skipped: Skipped, key: str, cut: Cut) -> np.ndarray | None:
    """Cuts what a record has at `key`; None where that does not decode, and `skipped` has it."""
    try:
        return cut(record[key], record.get("region", WHOLE))
    except ValueError as error:
        skipped.add(record["name"], error)
        return None
