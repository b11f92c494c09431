"""The optimizers of extractor and lens."""

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import optax

from lens_jax.train.durations import Clock

if TYPE_CHECKING:  # the step runs on machines that have no ml_collections
    from ml_collections import ConfigDict


def extractor_optimizer(config: "ConfigDict", clock: Clock) -> optax.GradientTransformation:
    """SGD with momentum; the gradient of L2 weight decay on the kernels alone is added before it."""
    return optax.chain(
        optax.add_decayed_weights(
            config.optimizer.weight_decay, mask=partial(_kernels, "extractor")
        ),
        optax.add_decayed_weights(
            config.optimizer.head_weight_decay, mask=partial(_kernels, "head")
        ),
        optax.sgd(learning_rate(config, clock), momentum=config.optimizer.momentum),
    )


def lens_optimizer(config: "ConfigDict") -> optax.GradientTransformation:
    """Adam with a constant learning rate: the lens must keep up with the extractor to the end."""
    return optax.adam(config.lens.learning_rate)


def learning_rate(config: "ConfigDict", clock: Clock) -> optax.Schedule:
    """Base * batch / 256: a linear warm-up from 0, then a cosine to 0 or steps of 0.1 at given times."""
    peak = config.optimizer.learning_rate * clock.batch_size / 256
    warmup = clock.steps(config.optimizer.warmup)
    if config.optimizer.schedule == "cosine":
        decay = optax.cosine_decay_schedule(peak, max(1, clock.total_steps - warmup))
    else:
        times = [clock.steps(time) - warmup for time in config.optimizer.decay_at]
        decay = optax.piecewise_constant_schedule(peak, dict.fromkeys(times, 0.1))
    return (
        optax.join_schedules([optax.linear_schedule(0, peak, warmup), decay], [warmup])
        if warmup
        else decay
    )


def _kernels(part: str, params: Any) -> Any:
    return {
        name: jax.tree.map(lambda p: p.ndim > 1, tree) if name == part else False
        for name, tree in params.items()
    }
