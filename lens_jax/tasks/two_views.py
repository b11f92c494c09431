"""Two augmented views of each image: what the contrastive methods compare."""

import dataclasses
from collections.abc import Sequence

import jax

from lens_jax.ops import crop
from lens_jax.tasks.base import (
    Augment,
    Batch,
    Outputs,
    Task,
    Views,
    check_side,
    join_views,
    split_views,
)


@dataclasses.dataclass(frozen=True)
class TwoViews(Task):
    """Two views of each image, side by side; in evaluation, the whole image twice.

    Attributes:
        size: side of the views in pixels; 0 is the side of the images.

    """

    size: int = 0

    def __post_init__(self) -> None:
        check_side(self.size)

    def views(self, key: jax.Array, batch: Batch, augment: Augment | None) -> Views:
        """[B, h, h, 3] -> [2B, s, s, 3], and as context what was drawn for each view, [2B, P]."""
        del key  # all that is drawn is the augmentation
        images = batch["image"]
        if augment is None:
            whole = self.crops(images)
            return Views(join_views(whole, whole))

        first = augment(images, view=0, size=self.size)
        second = augment(images, view=1, size=self.size)
        inputs = join_views(first.images, second.images)
        return Views(inputs, context=join_views(first.parameters, second.parameters))

    def embeddings(self, outputs: Outputs) -> Sequence[jax.Array]:
        """Those of both views."""
        return split_views(outputs.online, 2)

    def crops(self, images: jax.Array) -> jax.Array:
        """The whole images in the size of the views."""
        return crop.resize(images, self.size or images.shape[1])
