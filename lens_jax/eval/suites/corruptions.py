"""The suite `corruptions`: how accuracy falls on images with the 15 common corruptions."""

import dataclasses
import os
from typing import ClassVar

import numpy as np

from lens_jax.data import corruptions, folder, tfds_records
from lens_jax.data.corruptions import NAMES, SEVERITIES
from lens_jax.data.records import Source, fingerprint
from lens_jax.data.source import open_source
from lens_jax.errors import UserError, check_choice, check_range
from lens_jax.eval import linear, logistic
from lens_jax.eval.altered import alter
from lens_jax.eval.classes import is_imagenet, match_classes
from lens_jax.eval.suites.base import (
    Numbers,
    Subject,
    Suite,
    check_labels,
    describe_split,
    format_number,
)
from lens_jax.pages import page

# The error of AlexNet on ImageNet-C, the mean of its severities: the raw errors that the paper's
# authors divide by, as in imagenet.py of github.com/google-research/augmix.
ALEXNET_ERRORS = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}
# The accuracy on images by corruption, and by severity.
Accuracies = dict[str, dict[int, float]]


@dataclasses.dataclass(frozen=True)
class Corruptions(Suite):
    """The accuracy on corrupted test images of a linear classifier of clean ones.

    Attributes:
      names: the corruptions, see `data.corruptions`; by default all.
      severities: from 1 to 5.
      images: where corrupted images are, instead of the test images that are corrupted here: a
        folder with NAME/SEVERITY/CLASS/IMAGE, as ImageNet-C is unpacked, or
        "tfds:imagenet2012_corrupted", whose configurations are called NAME_SEVERITY.
      c: the inverse L2 strength of logistic regression.

    """

    name: ClassVar[str] = "corruptions"
    names: tuple[str, ...] = NAMES
    severities: tuple[int, ...] = SEVERITIES
    images: str = ""
    c: float = linear.INVERSE_L2

    def check(self, subject: Subject) -> None:
        """Raises `UserError` for data without labels, or an unknown corruption or severity."""
        check_labels(subject.train, self.name)
        if not (self.names and self.severities):
            raise UserError("suite 'corruptions' needs names and severities: give some of each")
        for name in self.names:
            check_choice("corruption", name, NAMES)
        for severity in self.severities:
            check_range(
                "severity of suite 'corruptions'", severity, min(SEVERITIES), max(SEVERITIES)
            )
        check_range("c of suite 'corruptions'", self.c, 1e-12)

    def sources(self, subject: Subject) -> dict[str, Source]:
        """The images to learn from and to evaluate on, and the corrupted ones of others."""
        found = {"train": subject.train, "test": subject.test}
        if self.images:
            parts = [self._open(subject, *kind) for kind in self._kinds()]
            prints = fingerprint(part.fingerprint for part in parts)
            size = sum(map(len, parts))
            found["corrupted"] = dataclasses.replace(parts[0], fingerprint=prints, size=size)
        return found

    def measure(self, subject: Subject) -> Numbers:
        """The mean accuracy, that on clean images, and those of each corruption and severity."""
        (tap,) = subject.taps[-1:]
        train = subject.rows(subject.train)
        classifier = logistic.fit(train.taps[tap], train.labels, self.c)

        def accuracy(source: Source) -> float:
            rows = subject.rows(source)
            labels = match_classes(source, subject.train)[rows.labels]
            predictions = logistic.predict(classifier, rows.taps[tap])
            return float(np.mean(predictions == labels))

        clean = accuracy(subject.test)
        accuracies: Accuracies = {name: {} for name in self.names}
        for name, severity in self._kinds():
            accuracies[name][severity] = accuracy(self._open(subject, name, severity))
        return summarize(clean, accuracies, is_imagenet(subject.train))

    def _kinds(self) -> list[tuple[str, int]]:
        return [(name, severity) for name in self.names for severity in self.severities]

    def _open(self, subject: Subject, name: str, severity: int) -> Source:
        """The images of one corruption and severity."""
        if self.images.startswith(tfds_records.PREFIX):
            return open_source(f"{self.images}/{name}_{severity}", "", subject.data_dir)
        words = ("corruption", name, str(severity))
        if self.images:
            source = folder.open_classes(os.path.join(self.images, name, str(severity)))
            # All these folders have files of the same names.
            told_apart = fingerprint([source.fingerprint, *words])
            return dataclasses.replace(source, fingerprint=told_apart)

        def change(image: np.ndarray, index: int) -> np.ndarray:
            return corruptions.corrupt(image, name, severity, index)

        return alter(subject.test, subject.frozen.config.data, change, words)

    def protocol(self, subject: Subject) -> str:
        """The solver, the splits, and where the corrupted images are from."""
        solver = f"multinomial logistic regression (L-BFGS, C={self.c:g}), standardized features"
        learned = describe_split("learned on clean", subject.train)
        tested = describe_split("evaluated on", subject.test)
        where = f"those of {self.images}" if self.images else "these, corrupted"
        kinds = f"{len(self.names)} corruptions of {len(self.severities)} severities"
        return f"{solver}; tap {subject.taps[-1]}; {learned}; {tested} and {where}: {kinds}"

    def tell(self, numbers: Numbers) -> list[page.Part]:
        """A short table, and one of the corruptions by severity."""
        rows = []
        for name in self.names:
            keys = [f"accuracy/{name}"]
            keys += [f"accuracy/{name}/{severity}" for severity in self.severities]
            cells = [format_number(key, numbers[key]) for key in keys]
            rows.append((name, *cells))
        severities = [f"severity {severity}" for severity in self.severities]
        by_severity = page.table(("accuracy", "mean", *severities), rows)

        # What is not in that table.
        listed = {row[0] for row in rows}
        short = {}
        for name, value in numbers.items():
            parts = name.split("/")
            if listed.isdisjoint(parts):
                short[name] = value
        return [*super().tell(short), by_severity]


def summarize(clean: float, accuracies: Accuracies, against_alexnet: bool) -> Numbers:
    """Accuracies and their means, fractions in [0, 1].

    Args:
      clean: the accuracy on clean images.
      accuracies: that on corrupted ones.
      against_alexnet: whether the mean corruption error can be told: the mean over the corruptions
        of the error, summed over the severities, divided by that of AlexNet. It is, where all
        corruptions and severities are there.

    Returns:
      "accuracy", the mean over all corruptions and severities; "accuracy/clean";
      "accuracy_drop", by what fraction of the clean accuracy it is lower;
      "mean_corruption_error"; and "accuracy/NAME" and "accuracy/NAME/SEVERITY".

    """
    means = {name: float(np.mean([*each.values()])) for name, each in accuracies.items()}
    mean = float(np.mean([*means.values()]))
    numbers = {"accuracy": mean, "accuracy/clean": clean}
    # Without a single image that is right, there is nothing to lose.
    numbers["accuracy_drop"] = 1 - mean / clean if clean else 0.0

    is_whole = all(set(each) == set(SEVERITIES) for each in accuracies.values())
    if against_alexnet and is_whole and set(means) == set(NAMES):
        errors = [(1 - means[name]) / ALEXNET_ERRORS[name] for name in NAMES]
        numbers["mean_corruption_error"] = float(np.mean(errors))

    for name, each in accuracies.items():
        numbers[f"accuracy/{name}"] = means[name]
        for severity, accuracy in each.items():
            numbers[f"accuracy/{name}/{severity}"] = accuracy
    return numbers
