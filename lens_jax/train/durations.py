"""Durations as users write them: "35 epochs", "500 steps", "1e6 examples", "10 percent"."""

import math
from typing import NamedTuple

from lens_jax.errors import UserError


class Clock(NamedTuple):
    """What a duration is measured by: images a step, images an epoch, and steps in all (0: not yet known)."""

    batch_size: int
    epoch_size: int
    total_steps: int = 0

    def steps(self, duration: str) -> int:
        """The duration in whole steps, rounded up; raises `UserError` for one that is not understood."""
        number, _, unit = duration.partition(" ")
        per_step = {
            "steps": 1.0,
            "epochs": self.epoch_size / self.batch_size,
            "examples": 1 / self.batch_size,
            "percent": self.total_steps / 100,
        }
        try:
            amount = float(number)
        except ValueError:
            amount = -1.0
        if unit not in per_step or not 0 <= amount < math.inf:
            raise UserError(
                f"unknown duration {duration!r}: write a number and steps, epochs, examples or percent"
            )
        if unit == "percent" and not self.total_steps:
            raise UserError(
                f"duration {duration!r} is a share of itself: give train.duration in another unit"
            )
        return math.ceil(amount * per_step[unit] - 1e-9)
