"""EquiMod: a method that compares views also learns how they differ (Devillers & Lefort, 2022).

arXiv 2211.01244; the details follow the authors' code, github.com/ADevillers/EquiMod.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lens_jax.errors import UserError
from lens_jax.losses.equivariance import (
    absolute_equivariance,
    equivariance_loss,
    relative_equivariance,
)
from lens_jax.models.equivariance import Equivariant, EquivariantHead
from lens_jax.ops.moments import Moments, measure_moments, standardize
from lens_jax.tasks.base import (
    Augment,
    Batch,
    DataFacts,
    Loss,
    Outputs,
    Target,
    Task,
    Views,
    check_least,
    check_option,
    check_positive,
    join_views,
    split_views,
)
from lens_jax.tasks.non_semantic import NonSemantic
from lens_jax.tasks.two_views import TwoViews


@dataclasses.dataclass(frozen=True)
class EquiMod(Task):
    """The base method, L_inv, and a loss by which the effect of each augmentation is predicted.

        L = L_inv + weight * L_eq,

    where the prediction of a view's embedding, from the embedding of the image as it is and the
    parameters of the augmentation, has to find that embedding among all others, and they it, see
    `equivariance_loss`. No gradient is stopped between the two.

    Views 0 and 1 are the base method's, view 2 is the image as it is. All go through the network
    together. With a base that shows the network one view and the target network the other, as MoCo
    does, there is one prediction an image: target networks have no part in L_eq.

    The parameters are standardized by the moments that they have under the run's own settings and
    size of images, see `measure_moments`. The authors' constants hold for theirs: their crops are
    in pixels of files of all sizes, and those for BYOL's blur and solarization are not the moments
    of its own settings. Parameters that are the same in all views are left out.

    Attributes:
        base: the base method.
        moments: of the augmentation's parameters.
        weight: of L_eq.
        temperature: divides the cosine similarities of L_eq.
        siblings: whether the other view of an image and its prediction are negatives too, as in
            the authors' code; the paper leaves them out.
        hidden: width of the two hidden layers of the projector of L_eq.
        embedding: length of the embeddings of L_eq.
        parameters: length of what the augmentation's parameters are projected to.

    """

    # Numbers of validation images are the two metrics of equivariance.
    validates = True

    base: TwoViews
    moments: Moments
    weight: float = 1.0
    temperature: float = 0.2
    siblings: bool = True
    hidden: int = 2048
    embedding: int = 128
    parameters: int = 128

    def __post_init__(self) -> None:
        finite = math.isfinite(self.weight) and self.weight >= 0
        check_option("weight", self.weight, finite, "at least 0 and finite")
        check_positive(self, "temperature")
        check_least(self, 1, "hidden", "embedding", "parameters")

    @classmethod
    def from_options(cls, options: Mapping[str, Any], facts: DataFacts) -> "EquiMod":
        """EquiMod with the moments of the run's augmentations.

        Raises `UserError` without a base method of two views alone, and for augmentations of which
        nothing varies.
        """
        base = options.get("base")
        if not isinstance(base, TwoViews):
            raise UserError(
                f"task 'equimod' has the base {name_of(base)}: it must be a method that compares "
                "two views, one of simclr, moco, byol, barlow_twins"
            )
        if isinstance(base, NonSemantic) and base.negative_views:
            raise UserError(
                f"task 'equimod' has a base with task.base.non_semantic={base.non_semantic!r}: its "
                "views are the two of an image alone: set task.base.non_semantic=none"
            )
        moments = measure_moments(facts.augmentations, facts.image_size)
        if not moments.columns:
            raise UserError(
                "task 'equimod' learns what augmentations do, and all of them are off: turn one "
                "on, such as augment.flip=0.5 or augment.area=(0.2, 1.0)"
            )
        return cls(moments=moments, **options)

    @property
    def has_logits(self) -> bool:
        """Whether L_inv has them; the lens's objectives that need logits are of L_inv alone."""
        return self.base.has_logits

    @property
    def online_views(self) -> tuple[int, ...]:
        """Those of the base method, and the image as it is."""
        of_base = self.base.online_views or (0, 1)
        return (*of_base, 2)

    def views(self, key: jax.Array, batch: Batch, augment: Augment | None) -> Views:
        """[B, h, h, 3] -> [3B, s, s, 3], and as context standardized parameters, [3B, P].

        Those of the image as it is are not used. In evaluation, the views of the base method.
        """
        augmented = self.base.views(key, batch, augment)
        if augment is None:
            return augmented
        first, second = split_views(augmented.inputs, 2)
        whole = self.crops(batch["image"])

        standardized = standardize(augmented.context, self.moments)
        of_first, of_second = split_views(standardized, 2)
        unused = jnp.zeros_like(of_first)
        context = join_views(of_first, of_second, unused)
        return Views(join_views(first, second, whole), augmented.labels, context)

    def crops(self, images: jax.Array) -> jax.Array:
        """The whole images in the size of the views."""
        return self.base.crops(images)

    def head(self, dtype: Any) -> nn.Module:
        """The head of the base method, with projectors and predictor beside it."""
        return EquivariantHead(
            base=self.base.head(dtype),
            views=len(self.online_views) - 1,
            hidden=self.hidden,
            embedding=self.embedding,
            parameters=self.parameters,
            dtype=dtype,
        )

    def target(self, total_steps: int) -> Target | None:
        """The target network of the base method; it sees no image as it is."""
        return self.base.target(total_steps)

    def memory(self, key: jax.Array) -> Any:
        """What the base method remembers."""
        return self.base.memory(key)

    def embeddings(self, outputs: Outputs) -> Sequence[jax.Array]:
        """Those that the base method compares."""
        return self.base.embeddings(of_base(outputs))

    def loss(self, outputs: Outputs, labels: Any, memory: Any) -> Loss:
        """L_inv + weight * L_eq.

        Metrics are those of the base method; "invariance_loss" and "equivariance_loss", L_inv and
        L_eq; "accuracy_equivariance", how often a view or a prediction is most similar to its
        partner; "absolute_equivariance" and "relative_equivariance", the means over the views, see
        `losses.equivariance`.
        """
        invariance = self.base.loss(of_base(outputs), labels, memory)
        online: Equivariant = outputs.online
        equivariance = equivariance_loss(
            online.views,
            online.predictions,
            self.temperature,
            per_image=len(self.online_views) - 1,
            siblings=self.siblings,
        )
        gains = {name: jnp.mean(values) for name, values in self.validate(outputs).items()}
        metrics = {
            "invariance_loss": invariance.value,
            "equivariance_loss": equivariance.value,
            "accuracy_equivariance": jnp.mean(equivariance.hits, dtype=invariance.value.dtype),
        }
        value = invariance.value + self.weight * equivariance.value
        metrics = invariance.metrics | metrics | gains
        return Loss(value, metrics, invariance.memory, invariance.logits)

    def validate(self, outputs: Outputs) -> Mapping[str, jax.Array]:
        """The absolute and the relative equivariance, the means over the views of each image."""
        _, whole, views, predictions = outputs.online
        of_image = jnp.repeat(whole, len(views) // len(whole), axis=0)
        gains = {
            "absolute_equivariance": absolute_equivariance(of_image, views, predictions),
            "relative_equivariance": relative_equivariance(of_image, views, predictions),
        }
        return {name: rows.reshape(len(whole), -1).mean(axis=1) for name, rows in gains.items()}


def of_base(outputs: Outputs) -> Outputs:
    """The outputs of the base method's head."""
    return Outputs(outputs.online.base, outputs.target)


def name_of(task: Task | None) -> str:
    """How an error names a base."""
    return "none" if task is None else repr(type(task).__name__)
