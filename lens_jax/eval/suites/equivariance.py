"""The suite `equivariance`: how much features tell of the augmentation of a view."""

import dataclasses
from typing import ClassVar

import jax

from lens_jax.data.batches import Batches, Skipped, eval_batches
from lens_jax.data.decode import read_decoding
from lens_jax.devices import distributed, mesh
from lens_jax.errors import UserError, check_range
from lens_jax.eval.augmentation import measure_r2
from lens_jax.eval.passes import BATCH_SIZE, replicate, round_up_to_devices
from lens_jax.eval.suites.base import Numbers, Subject, Suite, describe_split
from lens_jax.ops.alone import alone
from lens_jax.train.validation import Validation


@dataclasses.dataclass(frozen=True)
class Equivariance(Suite):
    """What is regressed of each parameter of the augmentation, and how well EquiMod predicts views.

    Attributes:
      examples: images to learn from, and to evaluate on, at most.

    """

    name: ClassVar[str] = "equivariance"
    examples: int = 4000

    def check(self, subject: Subject) -> None:
        """Raises `UserError` for another representation than raw, or without augmentations."""
        check_range("examples of suite 'equivariance'", self.examples, 2)
        if subject.representation != "raw":
            raise UserError(
                "suite 'equivariance' augments images as in training, and cannot have "
                f"representation {subject.representation!r}: choose raw"
            )
        if not alone(subject.frozen.system.augmentations):
            raise UserError(
                "suite 'equivariance' draws the run's own augmentations, and it has none: give a "
                "run with some, such as one of configs/simclr.py"
            )

    def measure(self, subject: Subject) -> Numbers:
        """R2 of each parameter, see `augmentation.measure_r2`: their mean first.

        With the task equimod also the means of absolute and relative equivariance, see
        `losses.equivariance`, of views as in training and by one operation alone.
        """
        frozen = subject.frozen
        scores = measure_r2(frozen, subject.train, subject.test, self.examples)
        numbers = {"r2": scores.pop("mean")}
        for parameter, score in scores.items():
            numbers[f"r2/{parameter}"] = score
        return numbers | self._validate(subject)

    def _validate(self, subject: Subject) -> Numbers:
        """What the task has of test images, if anything: "NAME", and "NAME/" an operation."""
        frozen = subject.frozen
        system = frozen.system
        if not system.task.validates:
            return {}
        data = frozen.config.data
        images = subject.test.subsample(self.examples)
        skipped = Skipped(images)

        def open_batches() -> Batches:
            return eval_batches(
                images,
                skipped,
                batch_size=round_up_to_devices(BATCH_SIZE),
                image_size=data.image_size,
                crop=data.eval_crop,
                shard=jax.process_index(),
                shards=jax.process_count(),
                threads=data.threads,
                decoding=read_decoding(data),
            )

        state = replicate(frozen.state)
        validation = Validation(system, frozen.config.seed, mesh.make_mesh(), open_batches)
        validation.compile(state)
        found = validation.measure(state)
        distributed.check_skipped(skipped, data.max_skipped)

        operations = tuple(alone(system.augmentations))
        return {_rename(name, operations): value for name, value in found.items()}

    def protocol(self, subject: Subject) -> str:
        """What is regressed from what, and on which images."""
        regression = (
            "ridge regression of each parameter from the features of an image and its view, by "
            f"the run's own augmentations; at most {self.examples:,} images"
        )
        learned = describe_split("learned on", subject.train)
        tested = describe_split("evaluated on", subject.test)
        return f"{regression}; tap pre_logits; {learned}; {tested}"


def _rename(name: str, operations: tuple[str, ...]) -> str:
    """A training's "test_absolute_equivariance_flip" as "absolute_equivariance/flip"."""
    name = name.removeprefix("test_")
    for operation in operations:
        if name.endswith(f"_{operation}"):
            return f"{name.removesuffix(f'_{operation}')}/{operation}"
    return name
