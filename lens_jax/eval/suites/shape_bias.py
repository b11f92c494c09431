"""The suite `shape_bias`: whether classes are told by their shape or by their texture."""

import dataclasses
from typing import ClassVar

import numpy as np

from lens_jax.data import cue_conflict
from lens_jax.data.cue_conflict import CATEGORIES, CueConflict
from lens_jax.data.records import Source
from lens_jax.data.source import open_source
from lens_jax.errors import UserError, check_range
from lens_jax.eval import linear, logistic
from lens_jax.eval.suites.base import Numbers, Subject, Suite, check_labels, describe_split


@dataclasses.dataclass(frozen=True)
class ShapeBias(Suite):
    """The decisions of a linear classifier on images of two classes, see `data.cue_conflict`.

    On rendered letters, it learns from those training images whose texture is that of their class,
    so that both cues tell the class equally well, and decides on the split "swapped". On published
    images, it learns ImageNet's classes from the labeled images of the job.

    Attributes:
      dataset: "textured_glyphs", or one configuration of it.
      stimuli: the folder of the published images, which then take the place of the letters.
      c: the inverse L2 strength of logistic regression.

    """

    name: ClassVar[str] = "shape_bias"
    dataset: str = "textured_glyphs"
    stimuli: str = ""
    c: float = linear.INVERSE_L2

    def check(self, subject: Subject) -> None:
        """Raises `UserError` where the classifier could not know all classes of the images."""
        check_range("c of suite 'shape_bias'", self.c, 1e-12)
        if self.stimuli:
            check_labels(subject.train, self.name)
            _check_categories(subject.train)

    def sources(self, subject: Subject) -> dict[str, Source]:
        """The images to learn from, and those to decide on."""
        if self.stimuli:
            stimuli = cue_conflict.open_stimuli(self.stimuli).source
            return {"train": subject.train, "test": stimuli}
        train = open_source(self.dataset, "train", subject.data_dir)
        swapped = open_source(self.dataset, "swapped", subject.data_dir)
        return {"train": train, "test": swapped}

    def measure(self, subject: Subject) -> Numbers:
        """The shape bias, how often each cue decides, and the shape bias of each class."""
        conflict = self._open_conflict(subject)
        rows = subject.rows(conflict.source)
        (tap,) = subject.taps[-1:]
        if self.stimuli:
            decisions = self._decide_categories(subject, rows.taps[tap])
        else:
            decisions = self._decide_letters(subject, rows.taps[tap])
        textures = conflict.textures[rows.positions]
        return count_decisions(decisions, rows.labels, textures, conflict.source.class_names)

    def _decide_letters(self, subject: Subject, features: np.ndarray) -> np.ndarray:
        (tap,) = subject.taps[-1:]
        train = cue_conflict.open_textured(self.dataset, "train", subject.data_dir)
        rows = subject.rows(train.source)
        learned, shapes = rows.taps[tap], rows.labels
        textures = train.textures[rows.positions]

        # Both cues tell the class of these.
        agree = shapes == textures
        classifier = logistic.fit(learned[agree], shapes[agree], self.c)
        return logistic.predict(classifier, features)

    def _decide_categories(self, subject: Subject, features: np.ndarray) -> np.ndarray:
        """The category whose classes have the highest mean probability, as the authors decide."""
        (tap,) = subject.taps[-1:]
        rows = subject.rows(subject.train)
        classifier = logistic.fit(rows.taps[tap], rows.labels, self.c)
        probabilities = logistic.probabilities(classifier, features)

        names = np.array(subject.train.class_names)[classifier.classes]
        by_category = []
        for ids in CATEGORIES.values():
            of_category = probabilities[:, np.isin(names, ids)]
            by_category.append(of_category.mean(axis=1))
        return np.argmax(by_category, axis=0)

    def _open_conflict(self, subject: Subject) -> CueConflict:
        if self.stimuli:
            return cue_conflict.open_stimuli(self.stimuli)
        return cue_conflict.open_textured(self.dataset, "swapped", subject.data_dir)

    def protocol(self, subject: Subject) -> str:
        """The solver, what it learns from, and what the classes of the decisions are."""
        sources = self.sources(subject)
        learned = describe_split("learned on", sources["train"])
        decided = describe_split("decides on", sources["test"])
        how = "whose texture is that of their class"
        if self.stimuli:
            how = f"and the mean probability of the classes of each of {len(CATEGORIES)} categories"
        solver = f"multinomial logistic regression (L-BFGS, C={self.c:g}), standardized features"
        return f"{solver}; tap {subject.taps[-1]}; {learned} {how}; {decided}"


def count_decisions(
    decisions: np.ndarray, shapes: np.ndarray, textures: np.ndarray, class_names: tuple[str, ...]
) -> Numbers:
    """How often each cue decides, all fractions in [0, 1].

    Args:
      decisions: the class that is decided for, int [n].
      shapes: the class of each image's shape, int [n].
      textures: that of its texture, int [n]. Images where both agree do not count.
      class_names: the names of the classes.

    Returns:
      "shape_bias", the decisions for the shape among those for shape or texture;
      "shape_decisions" and "texture_decisions", as fractions of all images that count; and
      "shape_bias/CLASS", of the images whose shape is of a class, where there are such decisions.

    Raises:
      UserError: no decision is for a shape or a texture.

    """
    conflicts = shapes != textures
    for_shape = conflicts & (decisions == shapes)
    for_texture = conflicts & (decisions == textures)
    decided = for_shape | for_texture
    if not decided.any():
        raise UserError(
            f"suite 'shape_bias' has no decision for the shape or the texture of any of "
            f"{np.sum(conflicts)} images: it needs a representation that knows one of them"
        )

    numbers = {
        "shape_bias": np.sum(for_shape) / np.sum(decided),
        "shape_decisions": np.sum(for_shape) / np.sum(conflicts),
        "texture_decisions": np.sum(for_texture) / np.sum(conflicts),
    }
    for label, name in enumerate(class_names):
        of_class = decided & (shapes == label)
        if of_class.any():
            numbers[f"shape_bias/{name}"] = np.sum(for_shape & of_class) / np.sum(of_class)
    return {name: float(value) for name, value in numbers.items()}


def _check_categories(train: Source) -> None:
    """Raises `UserError` unless each category has a class among those of the labeled images."""
    missing = []
    for category, ids in CATEGORIES.items():
        if set(ids).isdisjoint(train.class_names):
            missing.append(category)
    if missing:
        raise UserError(
            f"{train.dataset or 'the data set'} has no class of {', '.join(missing)}: stimuli need "
            "ImageNet's classes by their WordNet ids, as --dataset=imagenet2012 has them"
        )
