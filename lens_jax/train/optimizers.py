"""The optimizers of extractor and lens."""

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import optax

from lens_jax.train.durations import Clock

if TYPE_CHECKING:  # the step runs on machines that have no ml_collections
    from ml_collections import ConfigDict


def extractor_optimizer(config: "ConfigDict", clock: Clock) -> optax.GradientTransformation:
    """SGD with momentum, or LARS, with L2 weight decay of the kernels alone.

    The gradient of the decay is added before the momentum. Biases and BatchNorm's parameters have
    no decay; their learning rate is `optimizer.bias_factor` times that of the kernels.
    """
    settings = config.optimizer
    rate = learning_rate(config, clock)
    steps = [
        optax.add_decayed_weights(settings.weight_decay, mask=partial(_kernels, "extractor")),
        optax.add_decayed_weights(settings.head_weight_decay, mask=partial(_kernels, "head")),
    ]
    # Neither rule adapts to their gradients, so a factor of these is one of the learning rate.
    if settings.bias_factor != 1:
        steps.append(optax.masked(optax.scale(settings.bias_factor), _no_kernels))

    if settings.name == "lars":
        steps.append(_lars(rate, settings.momentum, settings.trust_coefficient))
    else:
        steps.append(optax.sgd(rate, momentum=settings.momentum))
    return optax.chain(*steps)


def _lars(
    rate: optax.Schedule, momentum: float, trust_coefficient: float
) -> optax.GradientTransformation:
    """Layer-wise adaptive rate scaling (You et al., 2017, arXiv 1708.03888).

    With g the gradient of a kernel w, weight decay included:

        v <- momentum v + rate trust_coefficient |w| / |g| g,    w <- w - v

    Biases and BatchNorm's parameters move as by SGD with momentum, without the quotient, as in the
    code of SimCLR, BYOL and Barlow Twins. The quotient is 1 where w or g is zero. The rate is that
    of the step in which a gradient enters the momentum, as in SimCLR's code; Barlow Twins takes
    that of the step in which it is used.
    """
    return optax.lars(
        rate,
        momentum=momentum,
        trust_coefficient=trust_coefficient,
        trust_ratio_mask=_all_kernels,
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
        mask[name] = _all_kernels(tree) if name == part else False
    return mask


def _all_kernels(params: Any) -> Any:
    """Which parameters are kernels: those with more than one axis."""
    return jax.tree.map(lambda p: p.ndim > 1, params)


def _no_kernels(params: Any) -> Any:
    """Which parameters are biases, or scales and shifts of BatchNorm."""
    return jax.tree.map(lambda p: p.ndim <= 1, params)
