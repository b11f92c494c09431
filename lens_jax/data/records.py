"""Records that are read at random, and what tells one collection of them from another."""

import dataclasses
import hashlib
import operator
from collections.abc import Callable, Collection, Iterable
from typing import NotRequired, TypedDict

from lens_jax.data.regions import Region
from lens_jax.errors import UserError

# The splits to evaluate on, the first that there is. `folder` makes the last one where a folder of
# images has none of the others.
HELD_OUT = "held_out"
EVAL_SPLITS = ("test", "validation", "val", HELD_OUT)
# The class of images that have none.
UNLABELED = "unlabeled"


class Record(TypedDict):
    """One example: an encoded image, the index of its class, and what to call it in messages.

    `region` is the part of the image that is the example; without it, that is all of the image.
    Beside the image there may be its encoded texture, see `textures.pair`.
    """

    image: bytes
    label: int
    name: str
    region: NotRequired[Region]
    texture: NotRequired[bytes]


@dataclasses.dataclass(frozen=True)
class Source:
    """The examples of one split of a data set, or a subsample of them.

    `len(source)` is its size, and `source[i]` is a `Record` that any thread may read.

    Attributes:
      class_names: what the labels stand for, in order.
      size: number of examples.
      read: returns the record at an index in [0, size).
      locate: returns the index that the record at an index in [0, size) has in the whole split.
        That is the same index, except in a subsample.
      read_partner: returns the other record of a pair, of which `read` returns the first; None
        where examples are no pairs.
      boxes: whether examples are images, or boxes in them, see `selection.Selection`.
      dataset: full name of the data set, such as "cifar10/3.0.2".
      folder: where it is.
      split: name of the split.
      fingerprint: of the whole split, the same wherever the folder is, see `fingerprint`.
      textures: fingerprint of the textures beside the images; "" without any.
      notes: lines that say what was read, what was left out, and why.
      upright: whether its images are turned as EXIF says, unless a config decides otherwise. The
        files of users are; prepared data sets are taken as all others take them.

    """

    class_names: tuple[str, ...]
    size: int
    read: Callable[[int], Record]
    locate: Callable[[int], int] = operator.index
    read_partner: Callable[[int], Record] | None = None
    boxes: str = "none"
    dataset: str = ""
    folder: str = ""
    split: str = ""
    fingerprint: str = ""
    textures: str = ""
    notes: tuple[str, ...] = ()
    upright: bool = False

    @property
    def num_classes(self) -> int:
        """Number of classes; labels are in [0, num_classes)."""
        return len(self.class_names)

    def subsample(self, size: int) -> "Source":
        """A source of `size` evenly spaced records, or of all where there are no more."""
        kept = min(size, self.size)

        def original(index: int) -> int:
            return index * self.size // kept

        def read(index: int) -> Record:
            return self.read(original(index))

        def locate(index: int) -> int:
            return self.locate(original(index))

        # For evaluation alone, which looks at single images.
        return dataclasses.replace(self, size=kept, read=read, locate=locate, read_partner=None)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < self.size:
            raise IndexError(f"record {index} of {self.size}")
        return self.read(index)


def fingerprint(words: Iterable[str]) -> str:
    """The first 16 digits of the SHA-256 of a list of words; other lists have other ones."""
    digest = hashlib.sha256()
    for word in words:
        # Names of files need not be text; none holds a zero byte.
        content = word.encode("utf-8", "surrogateescape")
        digest.update(content + b"\0")
    return digest.hexdigest()[:16]


def choose_split(dataset: str, split: str, present: Collection[str]) -> str:
    """The split of a data set that is meant; "" is the one to evaluate on.

    That is the first of `EVAL_SPLITS` that is present.

    Raises:
      UserError: the data set has no such split.

    """
    legal = ", ".join(present) or "none"
    if split:
        if split not in present:
            raise UserError(f"unknown split {split!r} of {dataset}: use one of {legal}")
        return split
    for name in EVAL_SPLITS:
        if name in present:
            return name
    expected = ", ".join(EVAL_SPLITS)
    raise UserError(
        f"{dataset} has no split to evaluate on ({expected}): choose one of {legal} by "
        "data.eval_split or --test_split"
    )
