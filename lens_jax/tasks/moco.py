"""MoCo v2: find the key of one's image among a queue of others (Chen et al., 2020, 2003.04297)."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from lens_jax.errors import UserError
from lens_jax.losses.contrastive import info_nce, normalize
from lens_jax.models.heads import MLP
from lens_jax.tasks.base import Loss, Outputs, Target, check_images, check_option
from lens_jax.tasks.two_views import TwoViews


@dataclasses.dataclass(frozen=True)
class MoCo(TwoViews):
    """The query, view 0, is compared with its key, view 1 through the target network, and a queue.

    The queue holds the keys of the last batches. It is read before this batch's keys enter it, as
    in the authors' code. Their batch statistics are shuffled over GPUs; ours are global.

    Attributes:
        hidden: width of the projector's hidden layer.
        embedding: length of the embeddings that are compared.
        temperature: divides the cosine similarities.
        queue: number of keys in the queue, at least those of a batch.
        momentum: weight of the old average in the target network.

    """

    hidden: int = 2048
    embedding: int = 128
    temperature: float = 0.2
    queue: int = 65536
    momentum: float = 0.999
    online_views = (0,)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("hidden", self.hidden, self.hidden >= 1, "at least 1")
        check_option("embedding", self.embedding, self.embedding >= 1, "at least 1")
        check_option("temperature", self.temperature, self.temperature > 0, "greater than 0")
        check_option("queue", self.queue, self.queue >= 1, "at least 1")
        check_option("momentum", self.momentum, 0 <= self.momentum <= 1, "between 0 and 1")

    def head(self, dtype: Any) -> nn.Module:
        """The projector: dense, ReLU, dense, without BatchNorm."""
        return MLP((self.hidden, self.embedding), dtype, norm=False)

    def target(self, total_steps: int) -> Target:
        """The key network, with a constant momentum."""
        del total_steps
        return Target((1,), optax.constant_schedule(self.momentum))

    def memory(self, key: jax.Array) -> jax.Array:
        """The queue: random rows of length 1, [queue, embedding], until keys take their places."""
        return normalize(jax.random.normal(key, (self.queue, self.embedding)))

    def embeddings(self, outputs: Outputs) -> Sequence[jax.Array]:
        """The queries and their keys."""
        return outputs.online, outputs.target

    def loss(self, outputs: Outputs, labels: Any, memory: jax.Array) -> Loss:
        """InfoNCE of the queries, [B, f], with their keys, [B, f], and the queue, see `info_nce`.

        The metric "accuracy" is the fraction of queries that are more similar to their key than to
        all of the queue.

        Raises:
            UserError: the queue is smaller than the batch, or there are fewer than two images.

        """
        del labels  # the key of a query is known from its place
        queries, keys = normalize(outputs.online), normalize(outputs.target)
        check_images("moco", len(queries))
        if len(keys) > self.queue:
            raise UserError(
                f"task.queue is {self.queue}: it must hold the {len(keys)} keys of a batch at least"
            )

        contrast = info_nce(queries, keys, memory, self.temperature)
        # The keys enter only now: among the negatives, they would repel their own queries.
        queue = jnp.concatenate([keys, memory])[: self.queue]
        accuracy = jnp.mean(contrast.hits, dtype=contrast.value.dtype)
        return Loss(contrast.value, {"accuracy": accuracy}, queue)
