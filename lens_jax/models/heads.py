"""Heads: the last layers of a network, which the pretext loss needs and evaluation takes off.

A head is called with (features [N, f], context, train). The context is what it must know beside
the features, None for most. Outputs are in at least float32.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lens_jax.errors import UserError
from lens_jax.models.batch_norm import BatchNorm


class ImageAndPatches(NamedTuple):
    """Features [B, f] of whole images and, side by side, of n patches of each, [n * B, f]."""

    images: jax.Array
    patches: jax.Array


class LinearHead(nn.Module):
    """One dense layer on the pooled features."""

    outputs: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: jax.Array, context: Any, train: bool) -> jax.Array:
        """[N, f] -> [N, outputs]."""
        del context, train
        return _last_dense(self.outputs, self.dtype)(features)


class MLP(nn.Module):
    """Dense layers with ReLU between them: the projectors of SimCLR, MoCo v2 and BYOL.

    SimCLR (Chen et al., 2020, arXiv 2002.05709) and BYOL (Grill et al., 2020, arXiv 2006.07733)
    normalize the hidden layers, MoCo v2 (Chen et al., 2020, arXiv 2003.04297) does not.

    Attributes:
        widths: those of the hidden layers, then that of the output.
        dtype: of the computation; parameters and statistics stay float32.
        norm: BatchNorm after each hidden dense layer, which then has no bias.
        last_norm: BatchNorm with a scale and no shift after the last dense layer, which then has no
            bias either: SimCLR's code, `model_util.projection_head`, has it.
        last_scale: whether that BatchNorm has its scale.

    """

    widths: tuple[int, ...]
    dtype: Any = jnp.float32
    norm: bool = True
    last_norm: bool = False
    last_scale: bool = True

    @nn.compact
    def __call__(self, features: jax.Array, context: Any, train: bool) -> jax.Array:
        """[N, f] -> [N, widths[-1]]; the context is not used."""
        *hidden, last = self.widths
        # BatchNorm would take a bias away again.
        use_bias = not self.norm
        x = features
        for width in hidden:
            x = nn.Dense(width, use_bias=use_bias, dtype=self.dtype)(x)
            if self.norm:
                x = BatchNorm(use_running_average=not train, dtype=self.dtype)(x)
            x = nn.relu(x)
        if not self.last_norm:
            return _last_dense(last, self.dtype)(x)

        x = _last_dense(last, self.dtype, use_bias=False)(x)
        norm = BatchNorm(
            use_running_average=not train,
            dtype=x.dtype,
            use_bias=False,
            use_scale=self.last_scale,
        )
        return norm(x)

    def target(self, features: jax.Array, context: Any, train: bool) -> jax.Array:
        """What a target network computes, the same as the call."""
        return self(features, context, train)


class PredictorHead(nn.Module):
    """A projector and a predictor on top of it, which the target network lacks, as in BYOL.

    Attributes:
        projector: (features, context, train) -> projections.
        predictor: (projections, context, train) -> predictions of the target network's projections.

    """

    projector: nn.Module
    predictor: nn.Module

    def __call__(self, features: jax.Array, context: Any, train: bool) -> jax.Array:
        """[N, f] -> predictions [N, d]."""
        projections = self.projector(features, context, train)
        return self.predictor(projections, context, train)

    def target(self, features: jax.Array, context: Any, train: bool) -> jax.Array:
        """[N, f] -> projections [N, d]."""
        return self.projector(features, context, train)


class PatchHead(nn.Module):
    """Tells from the features of patches how they lie to each other.

    The head of revisiting-self-supervised: each patch is embedded by a dense layer; for each order,
    the embeddings are concatenated and go through a dense layer, BatchNorm, ReLU, dropout and a
    last dense layer. Two things differ from the published head: BatchNorm's momentum is 0.9 instead
    of 0.997, whose averages would not settle within a few hundred steps, and kernels are drawn with
    variance 1 / inputs as in all our networks.

    Attributes:
        outputs: number of logits.
        embedding: width of a patch's embedding.
        hidden: width of the hidden layer.
        dropout: fraction of the hidden units that training leaves out, in [0, 1).
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

        The context holds P orders for each image: int [B, P, k] in [0, n), which of the image's
        patches lies at each of k places. An image's logits lie side by side. Training needs the
        random stream "dropout".
        """
        # Each patch by itself.
        batch = len(context)
        x = nn.Dense(self.embedding, dtype=self.dtype)(features)
        x = x.reshape(batch, -1, self.embedding)

        # The patches of an image, in each order; BatchNorm would take a bias away again.
        x = ArrangedDense(self.hidden, self.dtype)(x, context)
        x = x.reshape(-1, self.hidden)
        x = BatchNorm(use_running_average=not train, dtype=self.dtype)(x)
        x = nn.relu(x)
        dropout = nn.Dropout(self.dropout, deterministic=not train)
        x = dropout(x)
        return _last_dense(self.outputs, self.dtype)(x)


class JigsawHead(nn.Module):
    """Embeds whole images and their shuffled patches in one space: the two heads of PIRL.

    An image has a dense layer, or a hidden one with ReLU before it. A patch has the same with
    weights of its own, and the patches of an image are concatenated in their shuffled order and go
    through one dense layer more (Misra & van der Maaten, 2019, arXiv 1912.01991).

    Attributes:
        embedding: length of the embeddings, and of those of a patch.
        hidden: width of the hidden layers; 0: there are none.
        norm: BatchNorm after each hidden layer, as in `MLP`.
        dtype: of the computation; parameters and statistics stay float32.

    """

    embedding: int = 128
    hidden: int = 0
    norm: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: ImageAndPatches, context: Any, train: bool) -> jax.Array:
        """Features of B images and of their patches -> [2B, d], an image beside its patches."""
        widths = (self.hidden, self.embedding) if self.hidden else (self.embedding,)
        of_images = MLP(widths, self.dtype, self.norm, name="images")
        of_patches = MLP(widths, self.dtype, self.norm, name="patches")
        images = of_images(features.images, context, train)
        patches = of_patches(features.patches, context, train)

        # The patches of an image lie side by side.
        batch = len(images)
        concatenated = patches.reshape(batch, -1)
        jigsaws = _last_dense(self.embedding, self.dtype)(concatenated)
        side_by_side = jnp.stack([images, jigsaws], axis=1)
        return side_by_side.reshape(2 * batch, self.embedding)


class ArrangedDense(nn.Module):
    """A dense layer on the concatenated patches of an image, for several orders of them.

    y[b, p] = sum over places k of W[k] x[b, orders[b, p, k]], which is `nn.Dense` without a bias on
    concatenated patches. `einsum` takes the way of the fewest operations: it concatenates where
    there are few orders, and where there are many it multiplies each patch with each W[k] once.

    Attributes:
        features: width of the output.
        dtype: of the computation; the kernel [places, d, features] stays float32.

    """

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, patches: jax.Array, orders: jax.Array) -> jax.Array:
        """Patches [B, n, d], orders int [B, P, k] in [0, n) -> [B, P, features]."""
        count, depth = patches.shape[1:]
        places = orders.shape[2]
        shape = (places, depth, self.features)
        initializer = nn.initializers.lecun_normal()
        kernel = self.param("kernel", initializer, shape)

        # Which patch lies at each place, as rows of zeros and a one.
        chosen = jax.nn.one_hot(orders, count, dtype=self.dtype)
        patches = patches.astype(self.dtype)
        kernel = kernel.astype(self.dtype)
        return jnp.einsum("bpkn,bnd,kdf->bpf", chosen, patches, kernel)


def check_head(embedding: int, hidden: int, dropout: float) -> None:
    """Raises `UserError` unless the widths are positive and the dropout rate is in [0, 1)."""
    for name, width in {"embedding": embedding, "hidden": hidden}.items():
        if width < 1:
            raise UserError(f"the head's {name} width is {width}: use 1 or more")
    if not 0 <= dropout < 1:
        raise UserError(
            f"dropout is the fraction of units left out, not {dropout}: use 0 or more, below 1"
        )


def _last_dense(width: int, dtype: Any, use_bias: bool = True) -> nn.Dense:
    """A dense layer that computes in at least float32."""
    at_least_float32 = jnp.promote_types(dtype, jnp.float32)
    return nn.Dense(width, use_bias=use_bias, dtype=at_least_float32)
