"""SimCLR: each view has to find the other of its image (Chen et al., 2020, arXiv 2002.05709)."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from lens_jax.losses.contrastive import nt_xent
from lens_jax.models.heads import MLP
from lens_jax.tasks.base import (
    Loss,
    Outputs,
    check_images,
    check_least,
    check_positive,
    split_views,
)
from lens_jax.tasks.two_views import TwoViews


@dataclasses.dataclass(frozen=True)
class SimCLR(TwoViews):
    """Two views of each image attract, the views of all other images of the batch repel.

    Attributes:
        hidden: width of the projector's hidden layer.
        embedding: length of the embeddings that are compared.
        temperature: divides the cosine similarities; smaller ones weigh hard negatives more.
        last_norm: BatchNorm with a scale and no shift on the embeddings, as in the authors' code.

    """

    has_logits = True

    hidden: int = 2048
    embedding: int = 128
    temperature: float = 0.1
    last_norm: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, 1, "hidden", "embedding")
        check_positive(self, "temperature")

    def head(self, dtype: Any) -> nn.Module:
        """The projector: dense, BatchNorm, ReLU, dense, and BatchNorm with `last_norm`."""
        return MLP((self.hidden, self.embedding), dtype, last_norm=self.last_norm)

    def loss(self, outputs: Outputs, labels: Any, memory: Any) -> Loss:
        """NT-Xent over the pairs of views, [2B, f], see `nt_xent`.

        Metrics are "accuracy", the fraction of views whose most similar other view is their
        partner, and "negatives", the number of views that each is compared with beside it.
        """
        del labels  # the partner of a view is known from its place
        first, second = split_views(outputs.online, 2)
        check_images("simclr", len(first))

        contrast = nt_xent(first, second, self.temperature)
        metrics = {
            "accuracy": jnp.mean(contrast.hits, dtype=contrast.value.dtype),
            "negatives": jnp.asarray(2 * len(first) - 2, contrast.value.dtype),
        }
        return Loss(contrast.value, metrics, memory, contrast.logits)
