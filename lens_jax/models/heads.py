"""The head of the patch tasks: it sees the patches of an image side by side, in one order or several."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lens_jax.errors import UserError
from lens_jax.models.resnet import BatchNorm


class LinearHead(nn.Module):
    """One dense layer on the pooled features, with outputs in at least float32."""

    outputs: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: jax.Array, context: Any, train: bool) -> jax.Array:
        """[N, features] -> [N, outputs]."""
        del context, train
        return nn.Dense(self.outputs, dtype=jnp.promote_types(self.dtype, jnp.float32))(features)


class ArrangedDense(nn.Module):
    """A dense layer on the concatenation of some patches of an image, in every order that is asked
    for.

    y[b, p] = sum over places k of W[k] x[b, arrangement[b, p, k]], which is `nn.Dense` without a
    bias on concatenated patches. `einsum` takes the way of the fewest operations: it concatenates
    where there are few orders, and where there are many it multiplies each patch with each W[k]
    once.

    Attributes:
        features: width of the output.
        dtype: of the computation; the kernel [places, d, features] stays float32.

    """

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, patches: jax.Array, arrangement: jax.Array) -> jax.Array:
        """Patches [B, n, d], int [B, P, k] in [0, n) -> [B, P, features]."""
        shape = (arrangement.shape[2], patches.shape[2], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        chosen = jax.nn.one_hot(arrangement, patches.shape[1], dtype=self.dtype)
        operands = chosen, patches.astype(self.dtype), kernel.astype(self.dtype)
        return jnp.einsum("bpkn,bnd,kdf->bpf", *operands)


class PatchHead(nn.Module):
    """Says how patches lie to each other, from their features, as in revisiting-self-supervised.

    Each patch is embedded by a dense layer; for each order, the embeddings are concatenated and go
    through a dense layer, BatchNorm, ReLU, dropout and a last dense layer, in at least float32. Two
    things differ from the published head: BatchNorm's momentum is 0.9 instead of 0.997, whose
    averages would not settle within a few hundred steps, and kernels are drawn with variance 1 /
    inputs as in all of our networks.

    Attributes:
        outputs: number of logits.
        embedding: width of a patch's embedding.
        hidden: width of the hidden layer.
        dropout: share of the hidden units that training leaves out, in [0, 1).
        dtype: of the computation; parameters and statistics stay float32.

    """

    outputs: int
    embedding: int = 1000
    hidden: int = 4096
    dropout: float = 0.5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: jax.Array, context: jax.Array, train: bool) -> jax.Array:
        """Features [n * B, f] of n patches an image, and orders -> logits [P * B, outputs].

        `context`, int [B, P, k] in [0, n), holds which of the image's patches lies at each of k
        places, for each of P orders. An image's logits lie side by side. Training needs the random
        stream "dropout".
        """
        x = nn.Dense(self.embedding, dtype=self.dtype)(features)
        x = x.reshape(len(context), -1, self.embedding)
        # A bias would be taken away again by BatchNorm.
        x = ArrangedDense(self.hidden, self.dtype)(x, context).reshape(-1, self.hidden)
        x = nn.relu(BatchNorm(use_running_average=not train, dtype=self.dtype)(x))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.outputs, dtype=jnp.promote_types(self.dtype, jnp.float32))(x)


def check_head(embedding: int, hidden: int, dropout: float) -> None:
    """Raises `UserError` unless the widths are positive and the dropout rate is in [0, 1)."""
    for name, width in {"embedding": embedding, "hidden": hidden}.items():
        if width < 1:
            raise UserError(f"the head's {name} width is {width}: use 1 or more")
    if not 0 <= dropout < 1:
        raise UserError(
            f"dropout is the share of units left out, not {dropout}: use 0 or more, below 1"
        )


class MLP(nn.Module):
    widths: tuple[int, ...]
    dtype: Any = jnp.float32
    norm: bool = True

    @nn.compact
    def __call__(self, features, context=None, train=True):
        x = features
        *hidden, last = self.widths
        for width in hidden:
            x = nn.Dense(width, use_bias=not self.norm, dtype=self.dtype)(x)
            if self.norm:
                x = BatchNorm(use_running_average=not train, dtype=self.dtype)(x)
            x = nn.relu(x)
        return nn.Dense(last, dtype=jnp.promote_types(self.dtype, jnp.float32))(x)

    def target(self, features, context, train):
        return self(features, context, train)


class PredictorHead(nn.Module):
    projector: nn.Module
    predictor: nn.Module

    def __call__(self, features, context, train):
        return self.predictor(self.projector(features, context, train), context, train)

    def target(self, features, context, train):
        return self.projector(features, context, train)
