"""Batches of decoded images: endless and shuffled for training, one ordered pass for evaluation.

What a batch holds, row by row, is a function of the seed and the step alone. The processes that
share the work read one block of its rows each: put after one another, their parts are the batch
that one process reads.
"""

import threading
from collections.abc import Callable, Iterator
from typing import Protocol

import grain
import numpy as np
from absl import logging

from lens_jax.data import decode
from lens_jax.data.source import Record, Source
from lens_jax.errors import UserError, check_choice

Example = dict[str, np.ndarray]
Crop = Callable[[bytes, int, np.random.Generator | None], np.ndarray]

CROPS: dict[str, Crop] = {
    "random": decode.random_crop_resize,
    "central": lambda data, size, rng: decode.central_crop_resize(data, size),
    "none": lambda data, size, rng: decode.resize(data, size),
}
EVAL_CROPS = ("central", "none")


class Batches(Protocol):
    """An iterator over batches that can be saved and taken up again."""

    def __next__(self) -> Example:
        """The next batch."""

    def __iter__(self) -> Iterator[Example]:
        """Itself."""

    def get_state(self) -> dict[str, int]:
        """The place in the stream, small and fit for JSON, and the same in all processes."""

    def set_state(self, state: dict[str, int]) -> None:
        """Goes to the place that `get_state` told."""


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
        """Notes an image, and logs it where it is a new one."""
        with self._lock:
            new = name not in self._names
            self._names.add(name)
        if new:
            logging.warning("skipped an image that does not decode: %s (%s)", name, reason)

    def check(self, limit: float) -> None:
        """Raises a `UserError` where more than `limit`, a share in [0, 1], of the source was skipped."""
        names = sorted(self.names)
        if len(names) > limit * self._size:
            raise UserError(
                f"{len(names)} of {self._size} images did not decode, more than the limit of {limit:.2%}: "
                f"{', '.join(names[:3])}; repair or remove them, or raise the limit"
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
) -> Batches:
    """Shuffles a source anew every epoch, for ever.

    Every epoch holds each example once, over all processes; a batch may span two epochs. An image
    that does not decode is noted in `skipped`, and the next one of the source that does takes its
    place.

    Args:
      source: what to read.
      skipped: takes the images that do not decode; it is for the caller to `check` it.
      batch_size: examples in a batch of all processes together.
      image_size: side of the images in pixels.
      crop: a key of `CROPS`.
      seed: decides the order and the crops, in [0, 2**32).
      shard: which block of rows of every batch is this process's, in [0, shards).
      shards: number of processes that share the batches.
      threads: batches that are read at a time.

    Returns:
      Batches of "image", uint8 [batch_size / shards, image_size, image_size, 3], and "label", int32
      [batch_size / shards].

    Raises:
      UserError: an unknown crop, or a batch size that the processes cannot share evenly.

    """
    cut, share = _choose(crop, tuple(CROPS)), _share(batch_size, shards)

    def load(index: int, rng: np.random.Generator) -> Example:
        return _load_or_next(source, skipped, index, lambda data: cut(data, image_size, rng))

    order = grain.MapDataset.range(len(source)).seed(seed).shuffle().repeat()
    return _iterate(_deal(order.random_map(load), shard, shards, share), threads)


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
) -> Batches:
    """Goes through a source once, in its order, and drops nothing.

    Where "mask" is False, there is no example: the last batch is filled up, so that all processes
    get equally many batches, and an image that does not decode is black. The latter is noted in
    `skipped`.

    Args:
      source: what to read.
      skipped: takes the images that do not decode; it is for the caller to `check` it.
      batch_size: examples in a batch of all processes together.
      image_size: side of the images in pixels.
      crop: one of `EVAL_CROPS`.
      shard: which block of rows of every batch is this process's, in [0, shards).
      shards: number of processes that share the batches.
      threads: batches that are read at a time.

    Returns:
      Batches as of `train_batches`, and with "mask", bool [batch_size / shards].

    Raises:
      UserError: an unknown crop, or a batch size that the processes cannot share evenly.

    """
    cut, share = _choose(crop, EVAL_CROPS), _share(batch_size, shards)
    blank = np.zeros((image_size, image_size, 3), np.uint8)

    def load(index: int) -> Example:
        if index >= len(source):
            return {"image": blank, "label": np.int32(0), "mask": np.bool_(False)}
        record = source[index]
        image = _cut(record, skipped, lambda data: cut(data, image_size, None))
        valid = image is not None
        return {
            "image": image if valid else blank,
            "label": np.int32(record["label"]),
            "mask": np.bool_(valid),
        }

    padded = -(-len(source) // batch_size) * batch_size
    examples = grain.MapDataset.range(padded).map(load)
    return _iterate(_deal(examples, shard, shards, share), threads)


def _choose(crop: str, legal: tuple[str, ...]) -> Crop:
    check_choice("crop", crop, legal)
    return CROPS[crop]


def _share(batch_size: int, shards: int) -> int:
    """How many examples of a batch each process gets."""
    if batch_size < 1 or batch_size % shards:
        raise UserError(
            f"batch size {batch_size} cannot be shared by {shards} processes: use a multiple of {shards}"
        )
    return batch_size // shards


def _deal(examples: grain.MapDataset, shard: int, shards: int, share: int) -> grain.MapDataset:
    """A process's part of every batch of `shards * share` examples: its block of `share` rows.

    Devices hold blocks of a batch in the order of their processes, so that an example has its row,
    and what is drawn at random for that row, whatever the number of processes.
    """
    # There is no remainder to drop; but else, grain rounds the endless length up, past what len()
    # can tell.
    return examples.batch(share, drop_remainder=True)[shard::shards]


def _iterate(batches: grain.MapDataset, threads: int) -> Batches:
    return iter(batches.to_iter_dataset(grain.ReadOptions(threads, prefetch_buffer_size=threads)))


def _load_or_next(
    source: Source, skipped: Skipped, index: int, cut: Callable[[bytes], np.ndarray]
) -> Example:
    """Reads and cuts the image at `index`, or the first one after it that decodes."""
    for offset in range(len(source)):
        record = source[(index + offset) % len(source)]
        image = _cut(record, skipped, cut)
        if image is not None:
            return {"image": image, "label": np.int32(record["label"])}
    raise UserError(
        f"none of the {len(source)} images decodes, from {source[0]['name']} on: replace them"
    )


def _cut(record: Record, skipped: Skipped, cut: Callable[[bytes], np.ndarray]) -> np.ndarray | None:
    """Cuts a record's image, or notes that it does not decode."""
    try:
        return cut(record["image"])
    except ValueError as error:
        skipped.add(record["name"], error)
        return None
