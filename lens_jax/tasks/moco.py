"""MoCo v2: find the key of one's image among a queue of others (Chen et al., 2020, 2003.04297)."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from lens_jax.losses.contrastive import cosines, info_nce, normalize
from lens_jax.models.heads import MLP
from lens_jax.tasks.base import (
    Loss,
    Outputs,
    Target,
    check_images,
    check_least,
    check_positive,
    check_weights,
    join_views,
    split_views,
)
from lens_jax.tasks.non_semantic import NonSemantic


@dataclasses.dataclass(frozen=True)
class MoCo(NonSemantic):
    """The query, view 0, is compared with its key, view 1 through the target network, and a queue.

    The queue holds the keys of the last batches. It is read before this batch's keys enter it, as
    in the authors' code. Three things differ from that: batch statistics are global, where theirs
    are shuffled over GPUs; the queue may have any size, where theirs is a multiple of the batch;
    and `symmetric` takes the mean of both directions, where the authors' notebook adds them up.

    With a non-semantic negative t of each query q (Ge et al., 2021, arXiv 2110.14189) the loss is

        -log( exp(q k / T) / (exp(q k / T) + sum over the queue exp(q n / T) + exp(alpha q t / T)) )

    at temperature T. Each query is repelled from its own negative alone, and none enters the queue.
    As published, alpha weighs the similarity, not the term: at alpha = 0 there still is exp(0) = 1
    in the sum, a constant, and the gradient is nearly but not exactly that without negatives.

    Attributes:
        hidden: width of the projector's hidden layer.
        embedding: length of the embeddings that are compared.
        temperature: divides the cosine similarities.
        queue: number of keys in the queue. One that is smaller than a batch keeps as many keys of
            the last batch as it holds.
        momentum: weight of the old average in the target network.
        symmetric: each view is the query once and the key once, and all keys enter the queue. A
            step costs both networks two views.

    """

    has_logits = True

    hidden: int = 2048
    embedding: int = 128
    temperature: float = 0.2
    queue: int = 65536
    momentum: float = 0.999
    symmetric: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, 1, "hidden", "embedding", "queue")
        check_positive(self, "temperature")
        check_weights(self, "momentum")

    @property
    def online_views(self) -> tuple[int, ...]:
        """The queries are of view 0, or of both views."""
        return (0, 1) if self.symmetric else (0,)

    def head(self, dtype: Any) -> nn.Module:
        """The projector: dense, ReLU, dense, without BatchNorm."""
        return MLP((self.hidden, self.embedding), dtype, norm=False)

    def target(self, total_steps: int) -> Target:
        """The key network, with a constant momentum."""
        del total_steps
        keys = (0, 1) if self.symmetric else (1,)
        return Target(keys + self.negative_views, optax.constant_schedule(self.momentum))

    def memory(self, key: jax.Array) -> jax.Array:
        """The queue: random rows of length 1, [queue, embedding], until keys take their places."""
        return normalize(jax.random.normal(key, (self.queue, self.embedding)))

    def embeddings(self, outputs: Outputs) -> Sequence[jax.Array]:
        """The queries of the first view and their keys."""
        keys, _ = self.part(outputs.target)
        queries, keys = outputs.online, self._partners(keys)
        if not self.symmetric:
            return queries, keys
        return split_views(queries, 2)[0], split_views(keys, 2)[0]

    def loss(self, outputs: Outputs, labels: Any, memory: jax.Array) -> Loss:
        """InfoNCE of the queries with their keys and the queue, see `info_nce`.

        Queries and keys are [B, f] each, or [2B, f] where both views are either. The metric
        "accuracy" is the fraction of queries that are more similar to their key than to all of the
        queue; and, as the loss has them, to alpha times their own negative, whose mean similarity
        is the metric "negative_cosine".

        Raises `UserError` for fewer than two images.
        """
        del labels  # the key of a query is known from its place
        queries = normalize(outputs.online)
        keys, negatives = self.part(normalize(outputs.target))
        views = len(self.online_views)
        check_images("moco", len(queries) // views)

        metrics = {}
        own = None
        if negatives is not None:
            similarities = cosines(queries, negatives)
            own = self.alpha * similarities[:, None]
            metrics["negative_cosine"] = jnp.mean(similarities)
        contrast = info_nce(queries, self._partners(keys), memory, self.temperature, own=own)

        # The keys enter only now: among the negatives, they would repel their own queries.
        queue = jnp.concatenate([keys, memory])[: self.queue]
        metrics["accuracy"] = jnp.mean(contrast.hits, dtype=contrast.value.dtype)
        return Loss(contrast.value, metrics, queue, contrast.logits)

    def _partners(self, keys: jax.Array) -> jax.Array:
        """The key of each query: that of the other view, where all views are queries."""
        if not self.symmetric:
            return keys
        first, second = split_views(keys, 2)
        return join_views(second, first)
