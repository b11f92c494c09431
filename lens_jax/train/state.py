"""What training carries from step to step."""

from functools import partial
from typing import TYPE_CHECKING, Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from lens_jax.tasks.non_semantic import TEXTURE, reads_textures
from lens_jax.train.division import choose_views
from lens_jax.train.system import Purpose, System, make_key, make_views, prepare

if TYPE_CHECKING:  # the step runs on machines that have no ml_collections
    from ml_collections import ConfigDict


@flax.struct.dataclass
class TrainState:
    """All that a checkpoint must hold beside the position in the data.

    There is no key among it: keys are derived from (seed, step, purpose).

    Attributes:
      step: number of steps taken.
      params: of extractor and head.
      batch_stats: BatchNorm's running statistics; by kind of inputs where the lens splits them.
      opt_state: of the optimizer of `params`.
      target_params: the average of `params`; empty without a target network.
      target_stats: the target network's own running statistics, as `batch_stats`.
      lens_params: of the lens; empty where no network is trained.
      lens_opt_state: of the optimizer of `lens_params`.
      lens_penalty: lambda at the next step.
      memory: what the task remembers, by kind of inputs.
      probe: "params" and "opt_state" of the online probe; empty without one.

    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    target_params: Any
    target_stats: Any
    lens_params: Any
    lens_opt_state: Any
    lens_penalty: jax.Array
    memory: Any
    probe: Any


def init_state(
    config: "ConfigDict",
    system: System,
    optimizer: optax.GradientTransformation,
    lens_optimizer: optax.GradientTransformation,
) -> TrainState:
    """The state before the first step, a function of `config.seed`."""
    batch = prepare(config, blank_batch(config, 1))
    views = make_views(system, batch, config.seed, 0)

    # The network is initialized by the views that it will see; they are of one image.
    seen = choose_views(views._replace(labels=None), system.task.online_views, len(views.inputs))
    key = make_key(config.seed, 0, Purpose.NETWORK)
    variables = system.network.init(key, seen.inputs, seen.context, train=False)
    params = variables["params"]
    stats = variables.get("batch_stats", {})
    if system.lens.split:
        stats = dict.fromkeys(system.lens.kinds, stats)

    lens_params = {}
    if system.lens_network is not None:
        altered = batch["image"] if system.lens.acts_on == "images" else views.inputs
        lens_key = make_key(config.seed, 0, Purpose.LENS)
        lens_params = system.lens_network.init(lens_key, altered)["params"]

    probe = {}
    if system.probe is not None:
        taps = partial(system.network.apply, train=False, method="taps")
        features = jax.eval_shape(taps, variables, views.inputs)["pre_logits"]
        probe = system.probe.init(features.shape[-1])

    memory_key = make_key(config.seed, 0, Purpose.MEMORY)
    has_target = system.target is not None
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=stats,
        opt_state=optimizer.init(params),
        target_params=params if has_target else {},
        target_stats=stats if has_target else {},
        lens_params=lens_params,
        lens_opt_state=lens_optimizer.init(lens_params),
        lens_penalty=jnp.float32(system.lens.first_penalty()),
        memory={kind: system.task.memory(memory_key) for kind in system.lens.kinds},
        probe=probe,
    )


def blank_batch(config: "ConfigDict", count: int) -> dict[str, np.ndarray]:
    """A batch of `count` black images, in the shapes that training reads."""
    side = config.data.image_size
    black = np.zeros((count, side, side, 3), np.uint8)
    batch = {
        "image": black,
        "label": np.zeros(count, np.int32),
        "index": np.zeros(count, np.int32),
    }
    if config.data.pairs != "none":
        batch["partner"] = black
    if reads_textures(config.task):
        batch[TEXTURE] = black
    return batch
