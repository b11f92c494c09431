"""What training carries from step to step."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from lens_jax.train.system import Purpose, System, make_key


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


def init_state(
    config: ConfigDict,
    system: System,
    optimizer: optax.GradientTransformation,
    lens_optimizer: optax.GradientTransformation,
) -> TrainState:
    """The state before the first step, a function of `config.seed`."""
    images = jnp.zeros((1, config.data.image_size, config.data.image_size, 3))
    variables = system.network.init(make_key(config.seed, 0, Purpose.NETWORK), images, train=False)
    lens_params = {}
    if system.lens is not None:
        lens_params = system.lens.init(make_key(config.seed, 0, Purpose.LENS), images)["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=optimizer.init(variables["params"]),
        lens_params=lens_params,
        lens_opt_state=lens_optimizer.init(lens_params),
        memory={},
    )
