"""Non-semantic negatives: what has an image's texture and not its shape is to be unlike it.

Ge et al., 2021, Robust Contrastive Learning Using Negative Samples with Diminished Semantics, arXiv
2110.14189. Of the authors' code (github.com/songweige/Contrastive-Learning-with-Non-Semantic-
Negatives) come the ways in which negatives are made, and the loss of `MoCo`.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from lens_jax.errors import UserError
from lens_jax.models.network import NegativesNetwork, Network
from lens_jax.ops import patchwork, quilting
from lens_jax.tasks.base import (
    Augment,
    Batch,
    Views,
    check_area,
    check_option,
    join_views,
    split_views,
)
from lens_jax.tasks.two_views import TwoViews

TEXTURE = "texture"
KINDS = ("none", "patch", "quilting", TEXTURE)


@dataclasses.dataclass(frozen=True)
class NonSemantic(TwoViews):
    """Two views of each image and, if asked for, a non-semantic negative of each that is a query.

    The negatives are further views of the image, which the target network sees and the trained one
    does not. There are none in evaluation.

    Attributes:
        non_semantic: how they are made, or "none". "patch": patches of the query at random places,
            side by side; "quilting": a quilt of blocks of the query, an approximation of textures;
            "texture": the texture that was synthesized from the image beforehand, see
            `data.textures`, with the same augmentation as the query.
        alpha: multiplies the similarity of a query with its negative, see the loss.
        patch_sides: least and largest side of the patches, as fractions of the view's; each image
            has a side of its own. The authors' README has 16 to 72 of 224 px.

    """

    # The views that are queries; the target network has the key of each, and then its negative.
    online_views = (0, 1)

    non_semantic: str = dataclasses.field(default="none", kw_only=True)
    alpha: float = dataclasses.field(default=2.0, kw_only=True)
    patch_sides: tuple[float, float] = dataclasses.field(default=(16 / 224, 72 / 224), kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        legal = f"one of {', '.join(KINDS)}"
        check_option("non_semantic", self.non_semantic, self.non_semantic in KINDS, legal)
        in_range = self.alpha >= 0 and math.isfinite(self.alpha)
        check_option("alpha", self.alpha, in_range, "at least 0")
        check_area(self, "patch_sides")

    @property
    def negative_views(self) -> tuple[int, ...]:
        """Which views are negatives, one for each query."""
        if self.non_semantic == "none":
            return ()
        first = 2
        return tuple(range(first, first + len(self.online_views)))

    def views(self, key: jax.Array, batch: Batch, augment: Augment | None) -> Views:
        """[B, h, h, 3] -> [2B, s, s, 3], or with negatives [3B, ...] or [4B, ...].

        The context of a negative is that of its query. Raises `UserError` for textures that the
        batch does not hold.
        """
        two = super().views(key, batch, augment)
        if augment is None or not self.negative_views:
            return two

        inputs = split_views(two.inputs, 2)
        parameters = split_views(two.context, 2)
        negatives = []
        repeated = []
        for view in self.online_views:
            view_key = jax.random.fold_in(key, view)
            negatives.append(self._make_negative(view_key, batch, augment, inputs[view], view))
            repeated.append(parameters[view])
        return Views(
            inputs=join_views(*inputs, *negatives),
            context=join_views(*parameters, *repeated),
        )

    def _make_negative(
        self, key: jax.Array, batch: Batch, augment: Augment, queries: jax.Array, view: int
    ) -> jax.Array:
        """A negative for each query, [B, s, s, 3]."""
        if self.non_semantic == TEXTURE:
            if TEXTURE not in batch:
                raise UserError(
                    "task.non_semantic is 'texture', and the batch has no textures: set "
                    "data.textures to their folder"
                )
            # The same view draws the same.
            return augment(batch[TEXTURE], view=view, size=self.size).images

        count, size = queries.shape[:2]
        if self.non_semantic == "quilting":
            return quilting.quilt(queries, quilting.draw(key, count, size))
        least, largest = (max(1, round(side * size)) for side in self.patch_sides)
        draws = patchwork.draw(key, count, size, (least, largest))
        return patchwork.make_patchworks(queries, draws)

    def network(self, extractor: nn.Module, head: nn.Module, **options: Any) -> Network:
        """With negatives, a network whose target sees them apart from the keys."""
        if not self.negative_views:
            return super().network(extractor, head, **options)
        return NegativesNetwork(extractor, head, keys=len(self.online_views), **options)

    def part(self, targets: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        """Parts the target network's outputs into keys and negatives, [V * B, f] each.

        Of V queries an image, in whose order the negatives are; None where there are none.
        """
        if not self.negative_views:
            return targets, None
        queries = len(self.online_views)
        views = split_views(targets, 2 * queries)
        return join_views(*views[:queries]), join_views(*views[queries:])


def reads_textures(options: Mapping[str, Any]) -> bool:
    """Whether a task with these options of the config needs the texture of each image."""
    return options.get("non_semantic") == TEXTURE
