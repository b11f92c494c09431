"""The suite `invariance`: to which changes of an object its features are blind."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lens_jax.data import factors
from lens_jax.data.factors import glyphs
from lens_jax.data.factors.sets import FactorSets
from lens_jax.data.records import Source
from lens_jax.errors import UserError, check_choice, check_range
from lens_jax.eval.factors import measure_spread
from lens_jax.eval.features import make_features
from lens_jax.eval.invariance import firing_percent, measure_scores
from lens_jax.eval.passes import linear_size
from lens_jax.eval.suites.base import Numbers, Subject, Suite
from lens_jax.pages import page

# Top-10 and Top-25 scores of ResNet-50s that were trained on ImageNet, by Purushwalkam and Gupta
# (2020), on GOT-10K (occlusion), ALOI and PASCAL3D+ (instance).
SUPERVISED = {
    "occlusion": (80.89, 74.21),
    "viewpoint": (89.54, 82.62),
    "illumination_direction": (94.63, 89.08),
    "illumination_color": (99.88, 99.38),
    "instance": (66.11, 59.44),
    "instance_viewpoint": (70.17, 63.47),
}
MOCO_V2 = {
    "occlusion": (84.19, 77.88),
    "viewpoint": (85.15, 75.08),
    "illumination_direction": (90.28, 80.76),
    "illumination_color": (99.66, 97.11),
    "instance": (62.49, 55.01),
    "instance_viewpoint": (67.40, 60.52),
}
PUBLISHED = {"supervised": SUPERVISED, "MoCo v2": MOCO_V2}


@dataclasses.dataclass(frozen=True)
class Invariance(Suite):
    """The Top-K Representation Invariance Score of each factor, see `eval.invariance`.

    Attributes:
      data: the sets of images, one of `factors.NAMES`.
      folder: where they are, of those that are not rendered.
      k: over how many of the best units of a class the score is averaged.
      shuffles: how often sets are put together at random for the score by chance.

    """

    name: ClassVar[str] = "invariance"
    data: str = factors.RENDERED
    folder: str = ""
    k: tuple[int, ...] = (10, 25)
    shuffles: int = 5

    def check(self, subject: Subject) -> None:
        """Raises `UserError` for data that is not there, and for more units than there are."""
        check_choice("data of suite 'invariance'", self.data, factors.NAMES)
        check_range("shuffles of suite 'invariance'", self.shuffles, 2)
        self._open(subject)
        units = _count_units(subject)
        if not self.k:
            raise UserError("suite 'invariance' has no k: give one such as k=[10,25]")
        for count in self.k:
            if not 1 <= count <= units:
                raise UserError(
                    f"suite 'invariance' has k={count}, and there are {units} units: choose a k "
                    f"from 1 to {units}"
                )

    def sources(self, subject: Subject) -> dict[str, Source]:
        """The images of each factor."""
        return {factor: images.source for factor, images in self._open(subject).items()}

    def measure(self, subject: Subject) -> Numbers:
        """The mean score of the first k; then of each k and factor the score and that by chance.

        After them come the ratio of `eval.factors.Spread` of each factor, and the standard error of
        each score by chance.
        """
        (tap,) = subject.taps[-1:]
        whole = _read_whole(subject)
        scores = {}
        spreads = {}
        for factor, images in self._open(subject).items():
            rows = whole.rows(images.source)
            features = rows.taps[tap]
            # Without those of images that do not decode.
            sets = images.sets[rows.positions]
            scores[factor] = measure_scores(features, sets, rows.labels, self.k, self.shuffles)
            spreads[f"spread/{factor}"] = measure_spread(features, sets).ratio

        first = self.k[0]
        values = [score[first].value for score in scores.values()]
        numbers = {f"top{first}": float(np.mean(values))}
        errors = {}
        for count in self.k:
            for factor, score in scores.items():
                numbers[f"top{count}/{factor}"] = score[count].value
                numbers[f"chance{count}/{factor}"] = score[count].chance
                errors[f"chance_se{count}/{factor}"] = score[count].chance_error
        return numbers | spreads | errors

    def protocol(self, subject: Subject) -> str:
        """The score, how images are read, and how many there are in how many sets."""
        counts = " and ".join(f"Top-{count}" for count in self.k)
        size = linear_size(subject.frozen.config.data)
        parts = [
            f"{counts} Representation Invariance Score, 100 at best",
            f"chance: mean of {self.shuffles} shuffles of the sets",
            f"{_count_units(subject)} units of tap {subject.taps[-1]}",
            f"whole images or boxes, resized to {size} x {size} pixels whatever their aspect",
        ]
        # Once what is the same of several factors.
        described: dict[str, list[str]] = {}
        for factor, images in self._open(subject).items():
            described.setdefault(_describe(images), []).append(_words(factor))
        parts += [f"{', '.join(names)}: {text}" for text, names in described.items()]
        return "; ".join(parts)

    def tell(self, numbers: Numbers) -> list[page.Part]:
        """The scores beside those by chance, and the published ones apart from them."""
        header = ["factor"]
        for count in self.k:
            header += (f"Top-{count}", "by chance")
        rows = []
        for name in numbers:
            kind, _, factor = name.partition("/")
            if kind == "spread":
                rows.append(self._row(factor, numbers))
        meaning = (
            "100 is the ceiling. By chance is what the same features score when images are put "
            "into sets at random. Spread is the distance of features of a set over that of random "
            "sets: 0 is invariant."
        )
        return [page.table([*header, "spread"], rows), page.paragraph(meaning), *self.published()]

    def published(self) -> list[page.Part]:
        """The scores of two ResNet-50s, a row for each factor."""
        header = ["factor"]
        for model in PUBLISHED:
            header += (f"{model}, Top-10", f"{model}, Top-25")
        rows = []
        for factor in glyphs.FACTORS:
            row = [_words(factor)]
            for scores in PUBLISHED.values():
                row += [f"{value:.2f}" for value in scores[factor]]
            rows.append(row)
        warning = (
            "Published scores of ResNet-50s trained on ImageNet, on photographs of GOT-10K and "
            "ALOI at 128 pixels, and of PASCAL3D+ at 224. Scores on other images, such as rendered "
            "letters, and of fewer units do not compare with them."
        )
        return [page.paragraph(warning), page.table(header, rows)]

    def _row(self, factor: str, numbers: Numbers) -> list[str]:
        row = [_words(factor)]
        for count in self.k:
            value = numbers[f"top{count}/{factor}"]
            chance = numbers[f"chance{count}/{factor}"]
            error = numbers[f"chance_se{count}/{factor}"]
            row.append(f"{value:.2f}")
            row.append(f"{chance:.2f} ± {error:.2f}")
        spread = numbers[f"spread/{factor}"]
        return [*row, f"{spread:.3f}"]

    def _open(self, subject: Subject) -> dict[str, FactorSets]:
        size = linear_size(subject.frozen.config.data)
        return factors.open_factors(self.data, self.folder, size)


def _read_whole(subject: Subject) -> Subject:
    """The subject with images read as for the published scores: whole, whatever their aspect."""
    config = subject.frozen.config.copy_and_resolve_references()
    with config.unlocked():
        config.data.linear_crop = "none"
    config.lock()
    return subject._replace(frozen=subject.frozen._replace(config=config))


def _count_units(subject: Subject) -> int:
    """The length of the features of the last tap."""
    (tap,) = subject.taps[-1:]
    frozen = subject.frozen
    size = linear_size(frozen.config.data)
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.uint8)
    compute = make_features(frozen, subject.representation, (tap,))
    shapes = jax.eval_shape(compute, frozen.state, image)
    return shapes[tap].shape[-1]


def _describe(images: FactorSets) -> str:
    """How many images and sets there are, and on how many images a unit may fire."""
    source = images.source
    sets = len(np.unique(images.sets))
    percent = firing_percent(source.num_classes)
    return (
        f"{len(source):,} images of {source.dataset} in {sets:,} sets of "
        f"{source.num_classes:,} classes, p={percent:.3g} %"
    )


def _words(factor: str) -> str:
    """The name of a factor for people."""
    return factor.replace("instance_", "instance + ").replace("_", " ")
