"""What training carries from step to step."""

from typing import Any

import flax.struct
import jax


@flax.struct.dataclass
class TrainState:
    """All that a checkpoint must hold beside the position in the data.

    There is no key among it: keys are derived from (seed, step, purpose). Without a lens,
    `lens_params` and `lens_opt_state` are empty.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    lens_params: Any
    lens_opt_state: Any
    memory: Any
