"""Letters filled with textures of photographs, in which texture and shape can be told apart.

Ten photographs are the textures, one for each kind of letter: those with the most contrast. The
other ones are backgrounds. In training and in "test", a letter has the texture of its class with a
given probability, and else that of another class. Two further splits hold the same letters as
"test", at the same places on the same backgrounds: in "swapped" the texture is always that of
another class, and in "silhouette" the letter is filled with one color, any at all. Who has learned
textures fails on the first, and who needs any texture fails on the second.

Textures and backgrounds are squares as those of `photo_crops`: for training from the left 60 % of a
photograph, for testing from its right 40 %. Backgrounds are faded to half their contrast, and made
darker or lighter than the letter, so that its shape can be seen. The feature "texture" is the class
whose texture a letter has.
"""

import pathlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from lens_jax.data import preparation
from lens_jax.data.builders import glyphs, photo_crops, png
from lens_jax.data.builders.letters import FONTS, LETTERS
from lens_jax.errors import UserError

SIZES = (64, 32, 96)
SPLITS = {"train": 10_000, "test": 2_000, "swapped": 2_000, "silhouette": 2_000}
SEED = 0
# Letters are large and heavy, so that there is texture to see.
SCALE_RANGE = (0.7, 0.95)
HEAVY = tuple(font for font, name in enumerate(FONTS) if "Bol" in name)
# What is left of the contrast of a background.
FADE = 0.5
# The least difference in mean luma, in [0, 1], between letter and background.
MIN_CONTRAST = 0.3
# The mean luma of backgrounds.
LUMA_RANGE = (0.1, 0.9)

_LUMA = np.array([0.299, 0.587, 0.114])

# Squares of a photograph, uint8 [size, size, 3] each.
Squares = list[np.ndarray]
# Keys and examples of a split.
Examples = Iterator[tuple[int, dict[str, Any]]]


class Photographs(NamedTuple):
    """The squares of photographs, of one side: textures by class, and backgrounds."""

    textures: Sequence[Squares]
    backgrounds: Sequence[Squares]


class Drawn(NamedTuple):
    """What decides an image.

    Attributes:
      factors: of the letter. Its colors and the noise are not used.
      texture: the class whose texture it has; of a silhouette, whose it would have had.
      fill: what the letter shows, float [size, size, 3] in [0, 1].
      background: what is around it, likewise, but for what a fading may exceed the range.

    """

    factors: glyphs.Factors
    texture: int
    fill: np.ndarray
    background: np.ndarray


def prepare(source: str, data_dir: str, size: int, tied: float) -> None:
    """Prepares letters with the textures of photographs, and prints what was prepared.

    Args:
      source: a folder of large photographs.
      data_dir: TFDS' directory, where "" stands for its default.
      size: side of the images, one of `SIZES`.
      tied: the probability that a letter has the texture of its class, rounded to a percentage.

    Raises:
      UserError: another size, too few photographs that are large enough, or the data is there
        already.

    """
    if size not in SIZES:
        legal = ", ".join(map(str, sorted(SIZES)))
        raise UserError(f"--size is {size}: textured_glyphs has images of {legal} pixels")
    folder = pathlib.Path(source).expanduser()
    found = photo_crops.find_photographs(folder, size)
    needed = len(LETTERS) + 1
    if len(found) < needed:
        raise UserError(
            f"{len(found)} photographs in {str(folder)!r} are large enough: expected {needed} or "
            f"more, one for each of {len(LETTERS)} letters and one for the background"
        )
    builder = TexturedGlyphs(
        paths=list(found.values()),
        size=size,
        percent=round(100 * tied),
        data_dir=preparation.data_folder(data_dir),
        file_format="array_record",
    )
    print(f"{preparation.prepare(builder)}, of {len(found)} photographs")


def cut_all(paths: Sequence[pathlib.Path], size: int) -> dict[str, Photographs]:
    """The squares of all photographs, "train" and "test"."""
    by_photograph = []
    for path in paths:
        squares = defaultdict(list)
        for split, _, square in photo_crops.cut(path, size):
            squares[split].append(square)
        by_photograph.append(squares)

    # Those with the most contrast are the textures.
    by_photograph.sort(key=lambda squares: -_mean_contrast(squares["train"]))
    found = {}
    for split in ("train", "test"):
        of_split = [squares[split] for squares in by_photograph]
        found[split] = Photographs(of_split[: len(LETTERS)], of_split[len(LETTERS) :])
    return found


def draw(split: str, index: int, photographs: Photographs, tied: float) -> Drawn:
    """Draws example `index` of a split, a letter of class `index` modulo ten.

    Two examples of one index in splits other than "train" differ in what fills the letter, and in
    how light the background is made for it.
    """
    label = index % len(LETTERS)
    is_train = split == "train"
    rng = np.random.default_rng((SEED, int(is_train), index))
    # Examples are made again from their seed: the draws have to stay in this order.
    factors = glyphs.sample_factors(rng, label, HEAVY, SCALE_RANGE)
    behind = int(rng.integers(len(photographs.backgrounds)))
    background = _draw_square(rng, photographs.backgrounds[behind])

    others = [texture for texture in range(len(LETTERS)) if texture != label]
    other = int(rng.choice(others))
    is_tied = rng.uniform() < tied and split != "swapped"
    texture = label if is_tied else other

    fill = _draw_square(rng, photographs.textures[texture])
    if split == "silhouette":
        # No color of a texture, which would tell the class as well.
        fill = np.broadcast_to(rng.uniform(size=3), fill.shape)
    return Drawn(factors, texture, fill, _set_apart(rng, background, fill))


def render(drawn: Drawn) -> np.ndarray:
    """The image, uint8 [size, size, 3]."""
    cover = glyphs.coverage(drawn.factors, len(drawn.fill))
    difference = drawn.fill - drawn.background
    image = drawn.background + cover[..., None] * difference
    light = image.clip(0, 1)
    return np.rint(255 * light).astype(np.uint8)


def _draw_square(rng: np.random.Generator, squares: Squares) -> np.ndarray:
    number = int(rng.integers(len(squares)))
    return squares[number] / 255


def _mean_contrast(squares: Squares) -> float:
    """The mean standard deviation of the luma of squares."""
    return float(np.mean([(square @ _LUMA).std() for square in squares]))


def _set_apart(rng: np.random.Generator, background: np.ndarray, fill: np.ndarray) -> np.ndarray:
    """Fades a background and draws its mean luma, at least `MIN_CONTRAST` from that of the fill."""
    low, high = LUMA_RANGE
    luma = float((fill @ _LUMA).mean())
    # How much room there is below the fill's luma, and above it.
    room_below = max(0, luma - MIN_CONTRAST - low)
    room_above = max(0, high - luma - MIN_CONTRAST)
    position = rng.uniform(0, room_below + room_above)
    wanted = low + position
    if position >= room_below:
        wanted = high - (position - room_below)

    faded = FADE * background
    return faded + wanted - (faded @ _LUMA).mean()


class TexturedGlyphs(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Ten letters with the textures of ten photographs, on other photographs."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}

    def __init__(self, *, paths: Sequence[pathlib.Path], size: int, percent: int, **kwargs: Any):
        """Images of `size` px, `percent` of which have the texture of their class."""
        self._paths = paths
        self._size = size
        self._tied = percent / 100
        config = tfds.core.BuilderConfig(
            name=f"{size}-tied{percent}",
            description=f"{size}x{size} pixels; {percent} % have the texture of their class.",
        )
        super().__init__(config=config, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        kinds = tfds.features
        shape = (self._size, self._size, 3)
        classes = list(LETTERS)
        features = {
            "image": kinds.Image(shape=shape, encoding_format="png"),
            "label": kinds.ClassLabel(names=classes),
            "texture": kinds.ClassLabel(names=classes),
            "font": kinds.ClassLabel(names=list(FONTS)),
            "index": kinds.Scalar(np.int64),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=kinds.FeaturesDict(features),
            supervised_keys=("image", "label"),
            license="That of the photographs.",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Examples]:
        squares = cut_all(self._paths, self._size)
        generators = {}
        for split in SPLITS:
            photographs = squares["train" if split == "train" else "test"]
            generators[split] = self._generate_examples(split, photographs)
        return generators

    def _generate_examples(self, split: str, photographs: Photographs) -> Examples:
        for index in range(SPLITS[split]):
            drawn = draw(split, index, photographs, self._tied)
            example = {
                "image": png.encode(render(drawn)),
                "label": drawn.factors.label,
                "texture": drawn.texture,
                "font": drawn.factors.font,
                "index": index,
            }
            yield index, example
