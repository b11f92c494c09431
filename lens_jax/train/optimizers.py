"""The optimizers of extractor and lens."""

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import optax

from lens_jax.train.durations import Clock

if TYPE_CHECKING:  # the step runs on machines that have no ml_collections
    from ml_collections import ConfigDict


def extractor_optimizer(config: "ConfigDict", clock: Clock) -> optax.GradientTransformation:
    """SGD with momentum and L2 weight decay of the kernels alone.

    The gradient of the decay is added before the momentum.
    """
    settings = config.optimizer
    return optax.chain(
        optax.add_decayed_weights(settings.weight_decay, mask=partial(_kernels, "extractor")),
        optax.add_decayed_weights(settings.head_weight_decay, mask=partial(_kernels, "head")),
        optax.sgd(learning_rate(config, clock), momentum=settings.momentum),
    )


def lens_optimizer(config: "ConfigDict") -> optax.GradientTransformation:
    """Adam with a constant learning rate: the lens must keep up with the extractor to the end.

    Between two updates of the lens, parameters and moments stay what they are.
    """
    adam = optax.adam(config.lens.learning_rate)
    every = config.lens.update_every
    if every == 1:
        return adam
    return optax.conditionally_mask(adam, lambda step: step % every == 0)


def learning_rate(config: "ConfigDict", clock: Clock) -> optax.Schedule:
    """Base * batch / 256: a linear warm-up from 0, then a cosine to 0, steps of 0.1, or none."""
    settings = config.optimizer
    peak = settings.learning_rate * clock.batch_size / 256
    warmup = clock.steps(settings.warmup)

    if settings.schedule == "cosine":
        decay = optax.cosine_decay_schedule(peak, max(1, clock.total_steps - warmup))
    elif settings.schedule == "constant":
        decay = optax.constant_schedule(peak)
    else:
        # The joined schedule counts from the end of the warm-up.
        steps = [clock.steps(time) - warmup for time in settings.decay_at]
        decay = optax.piecewise_constant_schedule(peak, dict.fromkeys(steps, 0.1))

    if warmup == 0:
        return decay
    rise = optax.linear_schedule(0, peak, warmup)
    return optax.join_schedules([rise, decay], [warmup])


def _kernels(part: str, params: Any) -> Any:
    """Which parameters are kernels of the extractor, or of the head."""
    mask = {}
    for name, tree in params.items():
        mask[name] = jax.tree.map(lambda p: p.ndim > 1, tree) if name == part else False
    return mask
