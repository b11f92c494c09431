"""Durations as users write them: "35 epochs", "1 epoch", "1e6 examples", "10 percent"."""

import math
from typing import NamedTuple

from lens_jax.errors import UserError

# What rounding may add to a whole number of steps.
_ROUNDING = 1e-9


class Clock(NamedTuple):
    """What a duration is measured by.

    Attributes:
      batch_size: images a step.
      epoch_size: images an epoch.
      total_steps: steps in all; None: not yet known.

    """

    batch_size: int
    epoch_size: int
    total_steps: int | None = None

    def steps(self, duration: str) -> int:
        """The duration in whole steps, rounded up; raises `UserError` if it is not understood."""
        number, _, unit = duration.partition(" ")
        total_steps = self.total_steps or 0
        steps_per_unit = {
            "steps": 1.0,
            "epochs": self.epoch_size / self.batch_size,
            "examples": 1 / self.batch_size,
            "percent": total_steps / 100,
        }
        try:
            amount = float(number)
        except ValueError:
            amount = math.nan

        # "1 epoch" is as good as "1 epochs".
        if f"{unit}s" in steps_per_unit:
            unit = f"{unit}s"
        if unit not in steps_per_unit or not 0 <= amount < math.inf:
            units = "steps, epochs, examples or percent"
            raise UserError(f"unknown duration {duration!r}: write a number and {units}")
        if unit == "percent" and self.total_steps is None:
            raise UserError(
                f"duration {duration!r} is part of itself: give train.duration in another unit"
            )
        return math.ceil(amount * steps_per_unit[unit] - _ROUNDING)
