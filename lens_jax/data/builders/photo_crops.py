"""Photo crops: squares cut from a folder of large photographs, of which each is a class.

A photograph is halved by averaging 2 x 2 pixels, which takes away most of the noise and of the
traces of its compression, and cut into squares side by side. Squares that hold nearly nothing are
left out. Training squares are from the left 60 % of a photograph and test squares from its right
40 %, behind a gap as wide as a square, so that no pixel and no neighbor of one is in both.

Colors alone tell many of the photographs apart. The gray configs hold the same squares without.
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import cv2
import numpy as np
import tensorflow_datasets as tfds

from lens_jax.data import preparation
from lens_jax.data.builders import png
from lens_jax.data.decode import Decoding, decode
from lens_jax.errors import UserError

SIZES = (64, 32, 96)
TRAIN_FRACTION = 0.6
# The least standard deviation of a square's luma, of values from 0 to 255.
LEAST_CONTRAST = 8.0
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_NAMED = 3

# Keys and examples of a split.
Examples = Iterator[tuple[str, dict[str, Any]]]


class Corner(NamedTuple):
    """The first row and column of a square, in pixels of the halved photograph."""

    top: int
    left: int


def prepare(source: str, data_dir: str, size: int, gray: bool) -> None:
    """Prepares the photographs below the folder `source`, and prints what was prepared.

    Raises:
      UserError: there are fewer than two photographs that are large enough, or the data is there
        already.

    """
    if size not in SIZES:
        legal = ", ".join(map(str, sorted(SIZES)))
        raise UserError(f"--size is {size}: photo_crops has squares of {legal} pixels")
    photographs = find_photographs(pathlib.Path(source).expanduser(), size)
    builder = PhotoCrops(
        photographs=photographs,
        config=config_name(size, gray),
        data_dir=preparation.data_folder(data_dir),
        file_format="array_record",
    )
    print(f"{preparation.prepare(builder)}, of {len(photographs)} photographs")


def config_name(size: int, gray: bool) -> str:
    """The name of a builder config, such as "64" or "64-gray"."""
    return f"{size}-gray" if gray else str(size)


def find_photographs(folder: pathlib.Path, size: int) -> dict[str, pathlib.Path]:
    """The photographs below a folder that give squares for both splits, by name and sorted.

    The others are named in a line that is printed.

    Raises:
      UserError: there is no such folder, or fewer than two photographs are left.

    """
    if not folder.is_dir():
        raise UserError(f"no folder of photographs at {str(folder)!r}: set --source")
    found = {}
    left_out = []
    for path in sorted(folder.rglob("*")):
        if not _is_image(path):
            continue
        name = path.relative_to(folder).as_posix()
        splits = {split for split, _, _ in cut(path, size)}
        # TFDS keeps the names of classes in a file of lines.
        if len(splits) == 2 and name.isprintable():
            found[name] = path
        else:
            left_out.append(name)
    if left_out:
        first = ", ".join(left_out[:_NAMED])
        print(f"left out {len(left_out)} files without squares for both splits: {first!r}")
    if len(found) < 2:
        raise UserError(
            f"{len(found)} photographs in {str(folder)!r} give squares for training and testing: "
            f"expected two or more of at least {8 * size} x {2 * size} pixels"
        )
    return found


def _is_image(path: pathlib.Path) -> bool:
    is_hidden = path.name.startswith(".")
    return path.suffix.lower() in SUFFIXES and not is_hidden and path.is_file()


def cut(path: pathlib.Path, size: int) -> Iterator[tuple[str, Corner, np.ndarray]]:
    """Yields the squares of a photograph that are not flat: split, corner, uint8 [size, size, 3].

    One that does not decode has none.
    """
    try:
        photograph = decode(path.read_bytes(), Decoding(upright=True))
    except (OSError, ValueError):
        return
    image = halve(photograph)
    height, width, _ = image.shape
    for split, corners in split_corners(height, width, size).items():
        for corner in corners:
            square = image[corner.top : corner.top + size, corner.left : corner.left + size]
            if not is_flat(square):
                yield split, corner, square


def halve(image: np.ndarray) -> np.ndarray:
    """Averages blocks of 2 x 2 pixels; an odd last row or column is left out."""
    height, width, _ = image.shape
    even = image[: height // 2 * 2, : width // 2 * 2]
    if not even.size:
        return even
    return cv2.resize(even, (width // 2, height // 2), interpolation=cv2.INTER_AREA)


def split_corners(height: int, width: int, size: int) -> dict[str, list[Corner]]:
    """The corners of the squares of each split that an image of these sides has room for."""
    border = int(TRAIN_FRACTION * width)
    # Behind a gap of one square.
    first_test = border + size
    columns = {
        "train": range(0, border - size + 1, size),
        "test": range(first_test, width - size + 1, size),
    }
    rows = range(0, height - size + 1, size)

    corners = {}
    for split, lefts in columns.items():
        pairs = itertools.product(rows, lefts)
        corners[split] = [Corner(top, left) for top, left in pairs]
    return corners


def is_flat(square: np.ndarray) -> bool:
    """Whether a square holds nearly nothing: sky, or a wall out of focus."""
    luma = cv2.cvtColor(square, cv2.COLOR_RGB2GRAY)
    return bool(luma.std() < LEAST_CONTRAST)


def remove_color(square: np.ndarray) -> np.ndarray:
    """The luma of a square in all three channels."""
    luma = cv2.cvtColor(square, cv2.COLOR_RGB2GRAY)
    return np.stack([luma] * 3, axis=2)


@dataclasses.dataclass(eq=False)
class PhotoCropsConfig(tfds.core.BuilderConfig):
    """One size of the squares, with colors or without.

    Attributes:
      size: side of the squares in pixels.
      gray: whether they are without colors.

    """

    size: int = SIZES[0]
    gray: bool = False


def _make_configs() -> list[PhotoCropsConfig]:
    configs = []
    for gray in (False, True):
        for size in SIZES:
            colors = "gray" if gray else "color"
            config = PhotoCropsConfig(
                name=config_name(size, gray),
                description=f"Squares of {size}x{size} pixels, in {colors}.",
                size=size,
                gray=gray,
            )
            configs.append(config)
    return configs


class PhotoCrops(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Squares of photographs; the class is the photograph."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar = _make_configs()

    def __init__(self, *, photographs: dict[str, pathlib.Path], **kwargs: Any):
        """Squares of `photographs`, by name."""
        self._photographs = photographs
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        size = self.builder_config.size
        features = {
            "image": tfds.features.Image(shape=(size, size, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=list(self._photographs)),
            "id": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            license="That of each photograph.",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Examples]:
        return {split: self._generate_examples(split) for split in ("train", "test")}

    def _generate_examples(self, split: str) -> Examples:
        size = self.builder_config.size
        for name, path in self._photographs.items():
            for part, corner, square in cut(path, size):
                if part != split:
                    continue
                # Where the square lies in its photograph, in halved pixels.
                key = f"{name}@{corner.left},{corner.top}"
                image = remove_color(square) if self.builder_config.gray else square
                yield key, {"image": png.encode(image), "label": name, "id": key}
