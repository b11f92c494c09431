"""Barlow Twins: alike in each number, the numbers unlike (Zbontar et al., 2021, 2103.03230)."""

import dataclasses
import math
from typing import Any

import flax.linen as nn

from lens_jax.losses.barlow_twins import barlow_twins
from lens_jax.models.heads import MLP
from lens_jax.tasks.base import (
    Loss,
    Outputs,
    check_images,
    check_least,
    check_option,
    check_positive,
    split_views,
)
from lens_jax.tasks.two_views import TwoViews


@dataclasses.dataclass(frozen=True)
class BarlowTwins(TwoViews):
    """Each number of a view's embedding follows that of the other view, and no other number.

    The embeddings of each view are standardized over the whole batch, as by BatchNorm without
    scale and shift. Two things differ from the authors' code: both views go through the network
    together, so that its own BatchNorm sees them as one batch, where theirs are two; and the last
    layer of the projector has a bias, which the standardization takes away again.

    Attributes:
        hidden: width of the projector's two hidden layers.
        embedding: length of the embeddings; their correlations take its square in memory.
        off_diagonal: weight of the correlations that should be 0; lambda in the paper.
        scale: multiplies the loss, so that SGD can have a learning rate of the other methods' size;
            with LARS it only multiplies the rate of biases. The default is that of the authors'
            published network; later they took it out, for `optimizer.bias_factor` in its place.

    """

    hidden: int = 8192
    embedding: int = 8192
    off_diagonal: float = 0.0051
    scale: float = 0.024

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, 1, "hidden")
        check_least(self, 2, "embedding")
        check_positive(self, "scale")
        weight = self.off_diagonal
        check_option("off_diagonal", weight, 0 <= weight < math.inf, "at least 0 and finite")

    def head(self, dtype: Any) -> nn.Module:
        """The projector: dense, BatchNorm, ReLU, the same again, dense."""
        return MLP((self.hidden, self.hidden, self.embedding), dtype)

    def loss(self, outputs: Outputs, labels: Any, memory: Any) -> Loss:
        """The loss over the pairs of views, [2B, f], see `losses.barlow_twins`.

        Metrics are "invariance", the mean correlation of a number with itself in the other view,
        and "redundancy", the root mean square of its correlations with the other numbers.
        """
        del labels  # the other view is known from its place
        first, second = split_views(outputs.online, 2)
        check_images("barlow_twins", len(first))

        found = barlow_twins(first, second, self.off_diagonal, self.scale)
        metrics = {"invariance": found.invariance, "redundancy": found.redundancy}
        return Loss(found.value, metrics, memory)
