"""BYOL: predict the other view's embedding in a target network (Grill et al., 2020, 2006.07733)."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from lens_jax.losses.contrastive import cosines, negative_cosine, soft_excess
from lens_jax.models.heads import MLP, PredictorHead
from lens_jax.tasks.base import (
    Loss,
    Outputs,
    Target,
    check_images,
    check_least,
    check_weights,
    join_views,
    split_views,
)
from lens_jax.tasks.non_semantic import NonSemantic

# MoCo v2's temperature.
SOFTNESS = 0.2


@dataclasses.dataclass(frozen=True)
class BYOL(NonSemantic):
    """Each view predicts the projection of the other one by the target network; nothing repels.

    Unless there are non-semantic negatives. Their authors (Ge et al., 2021, arXiv 2110.14189) add
    them to BYOL too, by a formula that we have not found; what follows is our own choice. For a
    prediction p with target k and the projection t of its own negative,

        2 - 2 cos(p, k) + 2 s log(1 + exp((alpha cos(p, t) - cos(p, k)) / s)),    s = 0.2,

    which is BYOL's loss and 2 s times that of MoCo v2 with an empty queue. To subtract alpha cos(p,
    t) alone would not do: at alpha = 2 it pushes twice as hard as the target pulls, wherever p is,
    and what is opposite to the patchworks predicts best, whatever the image. Here, with w between 0
    and 1, the target pulls 1 + w times as hard as without, and the negative pushes alpha w times as
    hard; w is small once p is clearly closer to its target than alpha times to its negative. As in
    MoCo, a little of it is left at alpha = 0.

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
        return Target((0, 1, *self.negative_views), lambda step: 1 - fade(step))

    def embeddings(self, outputs: Outputs) -> Sequence[jax.Array]:
        """The predictions of the first view, and what they should be."""
        projections, _ = self.part(outputs.target)
        prediction, _ = split_views(outputs.online, 2)
        _, projection = split_views(projections, 2)
        return prediction, projection

    def loss(self, outputs: Outputs, labels: Any, memory: Any) -> Loss:
        """The sum over both directions of 2 - 2 cos(prediction, projection), averaged over images.

        Of [2B, f] predictions and projections, and of [2B, f] negatives where there are any. The
        metric "cosine" is the mean cosine similarity of predictions and projections,
        "negative_cosine" that of predictions and negatives.
        """
        del labels  # the other view is known from its place
        projections, negatives = self.part(outputs.target)
        check_images("byol", len(outputs.online) // 2)

        # Both directions: each view predicts the other.
        first, second = split_views(projections, 2)
        targets = join_views(second, first)
        distances = negative_cosine(outputs.online, targets)
        attraction = 2 * jnp.mean(distances)
        metrics = {"cosine": 1 - attraction / 4}
        if negatives is None:
            return Loss(attraction, metrics, memory)

        # Each prediction is repelled from the negative of the view that it is made from.
        similarities = cosines(outputs.online, negatives)
        excess = soft_excess(self.alpha * similarities, 1 - distances / 2, SOFTNESS)
        metrics["negative_cosine"] = jnp.mean(similarities)
        return Loss(attraction + 4 * jnp.mean(excess), metrics, memory)
