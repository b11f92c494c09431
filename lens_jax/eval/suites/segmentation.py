"""The suite `segmentation`: the class of each pixel, by a linear classifier of a feature map."""

import dataclasses
from typing import ClassVar

import numpy as np

from lens_jax.data import masks
from lens_jax.data.masks import Masked
from lens_jax.data.records import Source
from lens_jax.errors import check_choice, check_range
from lens_jax.eval import linear
from lens_jax.eval.features import make_maps
from lens_jax.eval.segmentation import intersection_over_union, segment
from lens_jax.eval.suites.base import Numbers, Subject, Suite, describe_split

ADE20K_CLASSES = 150


@dataclasses.dataclass(frozen=True)
class Segmentation(Suite):
    """The mean intersection over union of a linear classifier of the cells of a map.

    Attributes:
      folder: laid out as ADE20K's, see `data.masks.open_folder`; by default, rendered scenes of
        letters.
      classes: of the folder.
      tap: the map; by default the last one.
      size: side of the images that the network sees, in pixels; 0 is that of linear evaluation.
      examples: images to learn from, evenly spaced.
      c: inverse L2 strength.

    """

    name: ClassVar[str] = "segmentation"
    folder: str = ""
    classes: int = ADE20K_CLASSES
    tap: str = ""
    size: int = 0
    examples: int = 2000
    c: float = linear.INVERSE_L2

    def check(self, subject: Subject) -> None:
        """Raises `UserError` for data that are not there, and for a tap that is no map."""
        check_choice("tap of suite 'segmentation'", self._tap(subject), subject.taps[:-1])
        check_range("classes of suite 'segmentation'", self.classes, 2, 255)
        check_range("size of suite 'segmentation'", self.size, 0)
        check_range("examples of suite 'segmentation'", self.examples, 1)
        check_range("c of suite 'segmentation'", self.c, 1e-12)
        make_maps(subject.frozen, subject.representation, self._tap(subject))
        self._open()

    def sources(self, subject: Subject) -> dict[str, Source]:
        """The images with masks; not those of the other suites."""
        train, test = self._open()
        return {"train": train.images, "test": test.images}

    def measure(self, subject: Subject) -> Numbers:
        """The mean over the classes that there are, the accuracy of pixels, and each class."""
        train, test = self._open()
        maps = make_maps(subject.frozen, subject.representation, self._tap(subject))
        confusion = segment(subject.frozen, train, test, maps, size=self.size, inverse_l2=self.c)
        by_class = intersection_over_union(confusion)
        numbers = {
            "mean_iou": float(np.nanmean(by_class)),
            "pixel_accuracy": float(np.trace(confusion) / confusion.sum()),
        }
        for name, iou in zip(test.images.class_names, by_class.tolist(), strict=True):
            if not np.isnan(iou):
                numbers[f"iou/{name}"] = iou
        return numbers

    def protocol(self, subject: Subject) -> str:
        """The classifier, how its logits become pixels, and the splits."""
        train, test = self._open()
        classifier = (
            f"logistic regression (C={self.c:g}) of the cells of {self._tap(subject)}, by the "
            "class of most of their pixels; logits interpolated bilinearly"
        )
        learned = describe_split("learned on", train.images)
        tested = describe_split("evaluated on", test.images)
        return f"{classifier}; {learned}; {tested}"

    def _tap(self, subject: Subject) -> str:
        return self.tap or subject.taps[-2]

    def _open(self) -> tuple[Masked, Masked]:
        if self.folder:
            opened = [masks.open_folder(self.folder, split, self.classes) for split in masks.SPLITS]
        else:
            opened = [masks.open_scenes(split) for split in ("train", "test")]
        train, test = opened
        return train._replace(images=train.images.subsample(self.examples)), test
