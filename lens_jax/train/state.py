"""What training carries from step to step."""

from typing import TYPE_CHECKING, Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from lens_jax.train.system import Purpose, System, make_key, make_views, prepare

if TYPE_CHECKING:  # the step runs on machines that have no ml_collections
    from ml_collections import ConfigDict


@flax.struct.dataclass
class TrainState:
    """All that a checkpoint must hold beside the position in the data.

    There is no key among it: keys are derived from (seed, step, purpose). Without a lens,
    `lens_params` and `lens_opt_state` are empty. `lens_penalty` is the lambda of the next step.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    lens_params: Any
    lens_opt_state: Any
    lens_penalty: jax.Array
    memory: Any


def init_state(
    config: "ConfigDict",
    system: System,
    optimizer: optax.GradientTransformation,
    lens_optimizer: optax.GradientTransformation,
) -> TrainState:
    """The state before the first step, a function of `config.seed`."""
    side = config.data.image_size
    blank = {"image": jnp.zeros((1, side, side, 3), jnp.uint8), "label": jnp.zeros(1, jnp.int32)}
    batch = prepare(config, blank, 0)
    views = make_views(config, system.task, batch, 0)
    key = make_key(config.seed, 0, Purpose.NETWORK)
    variables = system.network.init(key, views.inputs, views.arrangement, train=False)
    lens_params = {}
    if system.lens is not None:
        seen = batch["image"] if config.lens.acts_on == "images" else views.inputs
        lens_params = system.lens.init(make_key(config.seed, 0, Purpose.LENS), seen)["params"]
    stats = variables["batch_stats"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats={"lensed": stats, "raw": stats} if system.split else stats,
        opt_state=optimizer.init(variables["params"]),
        lens_params=lens_params,
        lens_opt_state=lens_optimizer.init(lens_params),
        lens_penalty=jnp.float32(0.0 if config.lens.budget == "bound" else config.lens.lambda_),
        memory={},
    )
