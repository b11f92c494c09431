"""BYOL: predict the other view's embedding in a target network (Grill et al., 2020, 2006.07733)."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from lens_jax.losses.contrastive import negative_cosine
from lens_jax.models.heads import MLP, PredictorHead
from lens_jax.tasks.base import (
    Loss,
    Outputs,
    Target,
    check_images,
    check_least,
    check_weights,
    split_views,
)
from lens_jax.tasks.two_views import TwoViews


@dataclasses.dataclass(frozen=True)
class BYOL(TwoViews):
    """Each view predicts the projection of the other one by the target network; nothing repels.

    Attributes:
        hidden: width of the hidden layers of projector and predictor.
        embedding: length of the projections and predictions.
        momentum: weight of the old average in the target network, at the first step; it rises to 1
            along half a cosine, 1 - (1 - momentum) * (1 + cos(pi step / steps)) / 2.

    """

    # The target network's momentum rises to 1 along the training.
    depends_on_duration = True

    hidden: int = 4096
    embedding: int = 256
    momentum: float = 0.996

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, 1, "hidden", "embedding")
        check_weights(self, "momentum")

    def head(self, dtype: Any) -> nn.Module:
        """Projector and predictor, of one shape; the target network stops at the projector."""
        widths = (self.hidden, self.embedding)
        return PredictorHead(projector=MLP(widths, dtype), predictor=MLP(widths, dtype))

    def target(self, total_steps: int) -> Target:
        """The target network sees both views."""
        fade = optax.cosine_decay_schedule(1 - self.momentum, max(1, total_steps))
        return Target((0, 1), lambda step: 1 - fade(step))

    def embeddings(self, outputs: Outputs) -> Sequence[jax.Array]:
        """The predictions of the first view, and what they should be."""
        prediction, _ = split_views(outputs.online, 2)
        _, projection = split_views(outputs.target, 2)
        return prediction, projection

    def loss(self, outputs: Outputs, labels: Any, memory: Any) -> Loss:
        """The sum over both directions of 2 - 2 cos(prediction, projection), averaged over images.

        Of [2B, f] predictions and projections. The metric "cosine" is the mean cosine similarity.
        """
        del labels  # the other view is known from its place
        predictions = split_views(outputs.online, 2)
        projections = split_views(outputs.target, 2)
        check_images("byol", len(predictions[0]))

        # Both directions: each view predicts the other.
        forward = negative_cosine(predictions[0], projections[1])
        backward = negative_cosine(predictions[1], projections[0])
        value = jnp.mean(forward + backward)
        return Loss(value, {"cosine": 1 - value / 4}, memory)
