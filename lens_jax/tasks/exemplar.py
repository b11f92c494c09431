"""Exemplar: which crops are of one image? (Dosovitskiy et al., 2014, arXiv 1406.6909)."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lens_jax.errors import UserError
from lens_jax.losses import triplet
from lens_jax.models.heads import LinearHead
from lens_jax.ops import crop
from lens_jax.tasks.base import Augment, Batch, Loss, Views


@dataclasses.dataclass(frozen=True)
class Exemplar:
    """The exemplar task with a triplet loss, as revisiting-self-supervised has it (arXiv
    1901.09005).

    Attributes:
        copies: crops of each image.
        size: side of the crops in pixels; 0 is the side of the images.
        embedding: length of the embeddings.
        margin: by how much a crop of another image has to be farther off, in squared distance
            between embeddings of length 1 (0 to 4).
        area: least and largest share of the image that a crop covers before it is cut to fit; the
            published code's crops start at 0.05, ours where this project's other crops do.

    """

    copies: int = 8
    size: int = 0
    embedding: int = 1000
    margin: float = 0.5
    area: tuple[float, float] = (0.08, 1.0)
    has_classes = False

    def __post_init__(self) -> None:
        _check("copies", self.copies, self.copies >= 2, "at least 2")
        _check(
            "size", self.size, self.size >= 0, "a number of pixels, or 0 for the images' own side"
        )
        _check("embedding", self.embedding, self.embedding >= 1, "at least 1")
        _check("margin", self.margin, self.margin > 0, "greater than 0")
        ordered = len(self.area) == 2 and 0 < self.area[0] <= self.area[1] <= 1
        _check(
            "area", self.area, ordered, "two shares of the image in (0, 1], the smaller one first"
        )

    def views(self, key: jax.Array, batch: Batch, augment: Augment | None) -> Views:
        """[B, h, h, 3] -> [copies * B, s, s, 3] augmented crop by crop, and each crop's image, 0 to
        B - 1.

        In evaluation, one view of each whole image.
        """
        images = batch["image"]
        if not augment:
            return Views(self.crops(images), jnp.arange(len(images)))
        crops = crop.random_resized_crop(key, images, self.copies, self._side(images), self.area)
        return Views(augment(crops), jnp.repeat(jnp.arange(len(images)), self.copies))

    def crops(self, images: jax.Array) -> jax.Array:
        """The images resized to the crops' size."""
        return crop.resize(images, self._side(images))

    def head(self, dtype: Any) -> nn.Module:
        """A linear layer to the embedding."""
        return LinearHead(self.embedding, dtype)

    def loss(self, outputs: jax.Array, targets: jax.Array, memory: Any) -> Loss:
        """The mean over all pairs of crops (a, p) of an image of max(0, margin + |a - p|^2 - |a -
        n|^2).

        The outputs [N, f] are scaled to length 1, and n is the semi-hard negative of the pair among
        all crops of other images in `outputs`, see `triplet.semi_hard_triplets`. The published code
        scales each of the f columns over the batch to length 1 instead, which is taken for a slip:
        its loss for an image would depend on the size of the batch.

        Metrics are "accuracy", the share of crops whose nearest other crop is of the same image,
        where chance is (copies - 1) / (N - 1), and "active", the share of pairs whose loss is not
        0.

        Raises:
            UserError: there are fewer than two images.

        """
        images = len(outputs) // self.copies
        if images < 2:
            raise UserError(
                f"task 'exemplar' compares each image with others, and got {images}: "
                "use at least 2 a loss, by a larger data.batch_size or lens.raw_fraction"
            )
        embeddings = triplet.unit_rows(outputs)
        distances = jax.lax.stop_gradient(triplet.squared_distances(embeddings))
        triplets = triplet.semi_hard_triplets(distances, targets, self.copies)
        hinges = triplet.triplet_hinges(embeddings, triplets, self.margin)
        pairs = jnp.sum(triplets.valid, dtype=hinges.dtype)
        metrics = {
            "accuracy": triplet.nearest_neighbor_accuracy(distances, targets),
            "active": jnp.sum(hinges > 0, dtype=hinges.dtype) / pairs,
        }
        return Loss(jnp.sum(hinges) / pairs, metrics, memory)

    def logits(self, outputs: jax.Array) -> None:
        """None: there are no classes."""

    def _side(self, images: jax.Array) -> int:
        return self.size or images.shape[1]


def _check(name: str, value: Any, fine: bool, legal: str) -> None:
    if not fine:
        raise UserError(f"task.{name} is {value!r}: it must be {legal}")
