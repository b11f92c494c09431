"""The head of EquiMod: embeddings of views, and predictions of them from the image as it is."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lens_jax.models.heads import MLP


class Equivariant(NamedTuple):
    """Outputs for N images with V augmented views each; those of an image lie side by side.

    Attributes:
      base: what the head of the base method makes of the views.
      whole: embeddings of the images as they are, [N, d].
      views: embeddings of the views, [V * N, d].
      predictions: of the latter, from the former and the parameters of the augmentation.

    """

    base: Any
    whole: jax.Array | None = None
    views: jax.Array | None = None
    predictions: jax.Array | None = None


class EquivariantHead(nn.Module):
    """The head of a base method, with what EquiMod adds (Devillers & Lefort, arXiv 2211.01244).

    A projector of its own embeds views and images; the parameters of a view's augmentation go
    through a dense layer, and a predictor of one dense layer makes of both what the embedding of
    the view should be. All end in BatchNorm without scale and shift, but for the parameters', which
    keeps its scale.

    Attributes:
        base: the head of the base method, which sees the augmented views alone.
        views: number of augmented views of an image. The image as it is comes after them.
        hidden: width of the two hidden layers of the projector.
        embedding: length of the embeddings.
        parameters: length of what the augmentation's parameters are projected to.
        dtype: of the computation; parameters and statistics stay float32.

    """

    base: nn.Module
    views: int
    hidden: int = 2048
    embedding: int = 128
    parameters: int = 128
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: jax.Array, context: jax.Array | None, train: bool) -> Equivariant:
        """Features [(V + 1) * N, f] of the views, and standardized parameters as many, [..., P].

        Without parameters, as in evaluation, all rows are for the head of the base method.
        """
        if context is None:
            return Equivariant(self.base(features, None, train))
        views, _ = self._divide(features)
        invariant = self.base(views, None, train)

        # Views and images in one space.
        widths = (self.hidden, self.hidden, self.embedding)
        project = MLP(widths, self.dtype, last_norm=True, last_scale=False, name="projector")
        embedded = project(features, None, train)
        embedded_views, whole = self._divide(embedded)

        # What was done to each view, and to which image.
        drawn, _ = self._divide(context)
        encode = MLP((self.parameters,), self.dtype, last_norm=True, name="parameters")
        encoded = encode(drawn, None, train)
        of_image = jnp.repeat(whole, self.views, axis=0)

        joint = jnp.concatenate([of_image, encoded], axis=-1)
        widths = (self.embedding,)
        predict = MLP(widths, self.dtype, last_norm=True, last_scale=False, name="predictor")
        predictions = predict(joint, None, train)
        return Equivariant(invariant, whole, embedded_views, predictions)

    def target(self, features: jax.Array, context: Any, train: bool) -> Any:
        """What a target network computes: the base method's, of augmented views alone."""
        return self.base.target(features, None, train)

    def _divide(self, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Rows [(V + 1) * N, f] -> those of the views, [V * N, f], and of the images, [N, f]."""
        size = rows.shape[-1]
        per_image = self.views + 1
        by_image = rows.reshape(-1, per_image, size)
        views = by_image[:, :-1]
        whole = by_image[:, -1]
        return views.reshape(-1, size), whole
