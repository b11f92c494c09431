"""Exemplar: which crops are of one image? (Dosovitskiy et al., 2014, arXiv 1406.6909)."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lens_jax.losses import triplet
from lens_jax.losses.contrastive import normalize
from lens_jax.models.heads import LinearHead
from lens_jax.ops import crop
from lens_jax.tasks.base import (
    Augment,
    Batch,
    Loss,
    Outputs,
    Task,
    Views,
    check_area,
    check_images,
    check_least,
    check_positive,
    check_side,
    split_views,
)


@dataclasses.dataclass(frozen=True)
class Exemplar(Task):
    """The exemplar task with a triplet loss, as revisiting-self-supervised (arXiv 1901.09005).

    Attributes:
        copies: crops of each image.
        size: side of the crops in pixels; 0 is the side of the images.
        embedding: length of the embeddings.
        margin: by how much a crop of another image has to be farther off, in squared distance
            between embeddings of length 1 (0 to 4).
        area: least and largest fraction of the image that a crop covers before it is cut to fit;
            the published code's crops start at 0.05, ours where this project's other crops do.

    """

    copies: int = 8
    size: int = 0
    embedding: int = 1000
    margin: float = 0.5
    area: tuple[float, float] = (0.08, 1.0)

    def __post_init__(self) -> None:
        check_side(self.size)
        check_least(self, 2, "copies")
        check_least(self, 1, "embedding")
        check_positive(self, "margin")
        check_area(self, "area")

    def views(self, key: jax.Array, batch: Batch, augment: Augment | None) -> Views:
        """[B, h, h, 3] -> [copies * B, s, s, 3], each crop augmented, labeled by its image, 0..B-1.

        In evaluation, one view of each whole image.
        """
        images = batch["image"]
        labels = jnp.arange(len(images))
        if augment is None:
            return Views(self.crops(images), labels)

        side = self._side(images)
        crops = crop.random_resized_crop(key, images, self.copies, side, self.area)
        augmented = augment(crops)
        labels = jnp.repeat(labels, self.copies)
        return Views(augmented.images, labels)

    def crops(self, images: jax.Array) -> jax.Array:
        """The images resized to the crops' size."""
        return crop.resize(images, self._side(images))

    def head(self, dtype: Any) -> nn.Module:
        """A linear layer to the embedding."""
        return LinearHead(self.embedding, dtype)

    def embeddings(self, outputs: Outputs) -> Sequence[jax.Array]:
        """Those of each crop."""
        return split_views(outputs.online, self.copies)

    def loss(self, outputs: Outputs, labels: jax.Array, memory: Any) -> Loss:
        """The mean over all pairs of an image of max(0, margin + |a-p|^2 - |a-n|^2).

        A pair is two of its crops, in either order. The embeddings [N, f] are scaled to length 1,
        and n is the semi-hard negative of the pair among all crops of other images, see
        `triplet.semi_hard_triplets`. The published code scales each of the f columns over the batch
        to length 1 instead, which is taken for a slip: its loss for an image would depend on the
        size of the batch.

        Metrics are "accuracy", the fraction of crops whose nearest other crop is of the same image,
        where chance is (copies - 1) / (N - 1), and "active", the fraction of pairs whose loss is
        not 0.

        Raises:
            UserError: there are fewer than two images.

        """
        count = len(outputs.online) // self.copies
        check_images("exemplar", count)

        # The distances only choose the triplets, so no gradient goes through them.
        embeddings = normalize(outputs.online)
        distances = triplet.squared_distances(embeddings)
        distances = jax.lax.stop_gradient(distances)
        triplets = triplet.semi_hard_triplets(distances, labels, self.copies)
        hinges = triplet.triplet_hinges(embeddings, triplets, self.margin)
        pairs = jnp.sum(triplets.valid, dtype=hinges.dtype)
        value = jnp.sum(hinges) / pairs

        hits = triplet.nearest_neighbor_hits(distances, labels)
        metrics = {
            "accuracy": jnp.mean(hits, dtype=hinges.dtype),
            "active": jnp.sum(hinges > 0, dtype=hinges.dtype) / pairs,
        }
        return Loss(value, metrics, memory)

    def _side(self, images: jax.Array) -> int:
        return self.size or images.shape[1]
