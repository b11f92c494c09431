"""What alters the extractor's inputs, what it is trained for, and how much it may change."""

import dataclasses
from typing import Any

import jax

from lens_jax.errors import UserError, check_choice, check_range
from lens_jax.lens.attacks import ATTACKS
from lens_jax.lens.budgets import BUDGETS, steered
from lens_jax.lens.objectives import OBJECTIVES, Objective, make_objective
from lens_jax.lens.unet import UNet

KINDS = ("network", "none", *ATTACKS)
PLACES = ("views", "images")
BATCH_NORMS = ("joint", "split")
LENSED, RAW = "lensed", "raw"


@dataclasses.dataclass(frozen=True)
class Lens:
    """The config's section `lens`, whose defaults are in lens_jax/defaults.py; it checks itself.

    What the extractor sees comes in kinds: `LENSED` inputs were altered, `RAW` ones were not.

    Attributes:
        kind: what alters inputs: "network" (the lens), "none", or an attack to compare it with.
        acts_on: "views", what the extractor sees, such as patches; or the whole "images".
        objective: what the lens, or an attack, minimizes.
        budget: what limits the change, see lens/budgets.py.
        lambda_: weight of the mean squared change of pixels in [-1, 1].
        target: the mean squared change that the budget "target" holds.
        epsilon: of the budget "bound", the mean absolute change; of attacks, the largest.
        attack_steps: of the attack "pgd".
        update_every: steps of the extractor for each step of the lens.
        lensed_fraction: of the images of a batch, the first ones, that the extractor sees lensed.
        raw_fraction: of the images of a batch, the last ones, that it sees as they are.
        batch_norm: statistics over lensed and raw inputs together ("joint"), or kept apart
            ("split") as in AdvProp (Xie et al., 2020, arXiv 1911.09665), but for the parameters,
            which both share.
        widths: channels of the network at each resolution, finest first.
        blocks: residual units before each change of resolution.
        patch: side of the blocks of pixels that are folded into channels first.
        learning_rate: of Adam, not scaled with the batch.

    """

    kind: str
    acts_on: str
    objective: str
    budget: str
    lambda_: float
    target: float
    epsilon: float
    attack_steps: int
    update_every: int
    lensed_fraction: float
    raw_fraction: float
    batch_norm: str
    widths: tuple[int, ...]
    blocks: int
    patch: int
    learning_rate: float

    def __post_init__(self) -> None:
        check_choice("lens", self.kind, KINDS)
        check_choice("place of the lens", self.acts_on, PLACES)
        check_choice("objective", self.objective, tuple(OBJECTIVES))
        check_choice("budget", self.budget, BUDGETS)
        check_choice("batch norm", self.batch_norm, BATCH_NORMS)
        check_range("lens.lambda_", self.lambda_, 0)
        check_range("lens.target", self.target, 1e-9)
        check_range("lens.epsilon", self.epsilon, 1e-9)
        check_range("lens.attack_steps", self.attack_steps, 1)
        check_range("lens.update_every", self.update_every, 1)
        check_range("lens.blocks", self.blocks, 1)
        check_range("lens.patch", self.patch, 1)
        check_range("lens.learning_rate", self.learning_rate, 0)
        check_range("lens.lensed_fraction", self.lensed_fraction, 0, 1)
        check_range("lens.raw_fraction", self.raw_fraction, 0, 1)
        self._check_combinations()

    def _check_combinations(self) -> None:
        if self.lensed_fraction == 0:
            raise UserError(
                "lens.lensed_fraction is 0, so that nothing is lensed: set lens.kind=none for that"
            )
        if self.batch_norm == "split" and self.raw_fraction == 0:
            raise UserError(
                "lens.batch_norm 'split' needs raw inputs: set lens.raw_fraction above 0, or joint"
            )
        if self.kind in ("fgsm", "pgd") and self.objective == "reconstruction":
            legal = [name for name in OBJECTIVES if name != "reconstruction"]
            raise UserError(
                f"lens.kind {self.kind!r} needs an objective to attack with, not 'reconstruction': "
                f"choose one of {', '.join(legal)}"
            )

    @property
    def trains(self) -> bool:
        """Whether there is a network to train."""
        return self.kind == "network"

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of inputs that the extractor sees in training."""
        if self.kind == "none":
            return (RAW,)
        return (LENSED, RAW) if self.raw_fraction else (LENSED,)

    @property
    def split(self) -> bool:
        """Whether BatchNorm keeps statistics for each kind of inputs."""
        return self.kind != "none" and self.batch_norm == "split"

    def rows(self, images: int) -> dict[str, slice]:
        """Which of the images of a batch are seen in each kind; a kind without images is left out.

        With both fractions 1 every image is seen lensed and raw; with both 0.5, each is seen once.
        """
        if self.kind == "none":
            return {RAW: slice(0, images)}
        lensed = max(1, round(self.lensed_fraction * images))
        raw = round(self.raw_fraction * images)
        rows = {LENSED: slice(0, lensed), RAW: slice(images - raw, images)}
        return rows if raw else {LENSED: rows[LENSED]}

    def make_network(self, dtype: Any, remat: bool) -> UNet | None:
        """The network that alters inputs; None where something else does, or nothing."""
        if not self.trains:
            return None
        epsilon = self.epsilon if self.budget == "bound" else None
        return UNet(self.widths, self.blocks, self.patch, dtype, epsilon, remat)

    def make_objective(self, has_logits: bool) -> Objective | None:
        """L_adv for a task with or without logits; None where nothing is minimized.

        Raises `UserError` for an objective that the task cannot have.
        """
        if self.kind in ("none", "random"):
            return None
        return make_objective(self.objective, has_logits)

    def first_penalty(self) -> float:
        """Lambda at the first step."""
        return 0.0 if self.budget == "bound" else self.lambda_

    def next_penalty(self, penalty: jax.Array, change: jax.Array) -> jax.Array:
        """Lambda after a step with the mean squared change `change`."""
        return steered(penalty, change, self.target) if self.budget == "target" else penalty
