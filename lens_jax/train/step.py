"""The joint update of feature extractor and lens: one forward pass, two cotangents."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lens_jax.lens.attacks import attack
from lens_jax.lens.budgets import steered
from lens_jax.lens.objectives import make_objective
from lens_jax.tasks.base import Batch, Views
from lens_jax.train.state import TrainState
from lens_jax.train.system import Purpose, System, make_key, make_views, prepare

if TYPE_CHECKING:  # the step runs on machines that have no ml_collections
    from ml_collections import ConfigDict

Metrics = dict[str, jax.Array]
Ask = Callable[[jax.Array], Views]
Keys = Callable[[Purpose], jax.Array]


class Gradients(NamedTuple):
    """Gradients of L_extractor and of L_lens, and what else the forward pass left behind."""

    params: Any
    lens_params: Any
    batch_stats: Any
    memory: Any
    metrics: Metrics


class Seen(NamedTuple):
    """What the extractor sees of a batch, and what of it is altered first.

    Attributes:
      original: what is altered, views or whole images, [n, h, w, 3].
      show: what was altered -> inputs for the extractor.
      altered: the views of the altered images; their inputs are still as they were.
      raw: the views that the extractor sees as they are, possibly none.
      images: how many images the two are views of.

    """

    original: jax.Array
    show: Callable[[jax.Array], jax.Array]
    altered: Views
    raw: Views
    images: tuple[int, int]


def make_step(
    config: "ConfigDict",
    system: System,
    optimizer: optax.GradientTransformation,
    lens_optimizer: optax.GradientTransformation,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """The pure training step (state, batch of uint8 images and labels) -> (state, metrics)."""
    lens = config.lens
    gradients = plain_gradients if lens.kind == "none" else partial(joint_gradients, lens=lens)
    if lens.kind not in ("none", "random"):
        make_objective(lens.objective, system.task.has_classes)  # refused now, not while tracing

    def compute(state: TrainState, batch: Batch, tick: jax.Array) -> Gradients:
        batch = prepare(config, batch, tick)

        def ask(images: jax.Array) -> Views:
            return make_views(config, system.task, batch | {"image": images}, tick)

        keys = partial(make_key, config.seed, tick)
        return gradients(system, state=state, images=batch["image"], ask=ask, keys=keys)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        new = accumulated(compute, config.train.accumulate, state, batch)
        params, opt_state = _apply(optimizer, new.params, state.opt_state, state.params)
        lens_params, lens_opt_state = _now_and_then(
            lens.update_every,
            state.step,
            lambda: _apply(
                lens_optimizer, new.lens_params, state.lens_opt_state, state.lens_params
            ),
            (state.lens_params, state.lens_opt_state),
        )
        penalty = state.lens_penalty
        if lens.kind == "network" and lens.budget == "target":
            penalty = steered(penalty, new.metrics["lens_reconstruction"], lens.target)
        state = TrainState(
            step=state.step + 1,
            params=params,
            batch_stats=new.batch_stats,
            opt_state=opt_state,
            lens_params=lens_params,
            lens_opt_state=lens_opt_state,
            lens_penalty=penalty,
            memory=new.memory,
        )
        return state, new.metrics

    return step


def accumulated(
    compute: Callable[[TrainState, Batch, jax.Array], Gradients],
    parts: int,
    state: TrainState,
    batch: Batch,
) -> Gradients:
    """The mean of `compute` over the parts of a batch, one after the other in the memory of one.

    Every part sees the `batch_stats` and the memory that the one before left, and its own random
    draws: keys count parts in place of steps. Part i holds the rows i, i + parts, ..., which lie on
    all devices alike. BatchNorm takes its statistics over a part, so that the result is not that of
    the whole batch at once.
    """
    if parts == 1:
        return compute(state, batch, state.step)
    batches = jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), batch)
    ticks = state.step * parts + jnp.arange(parts)

    def add(sums: Gradients, part: tuple[Batch, jax.Array]) -> tuple[Gradients, None]:
        new = compute(state.replace(batch_stats=sums.batch_stats, memory=sums.memory), *part)
        sums = jax.tree.map(jnp.add, sums, new)
        return sums._replace(batch_stats=new.batch_stats, memory=new.memory), None

    like = jax.eval_shape(compute, state, jax.tree.map(lambda x: x[0], batches), ticks[0])
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)
    first = zeros._replace(batch_stats=state.batch_stats, memory=state.memory)
    # XLA's convolutions on CPUs take many times longer inside a loop.
    sums, _ = jax.lax.scan(add, first, (batches, ticks), unroll=jax.default_backend() == "cpu")
    mean = jax.tree.map(lambda x: x / parts, sums)
    return mean._replace(batch_stats=sums.batch_stats, memory=sums.memory)


def plain_gradients(
    system: System, *, state: TrainState, images: jax.Array, ask: Ask, keys: Keys
) -> Gradients:
    """The gradients of the pretext loss without a lens."""
    views = ask(images)

    def pretext(params: Any) -> tuple[jax.Array, tuple[Any, Any, Metrics]]:
        outputs, batch_stats = _apply_network(system, keys, state.batch_stats, params, views)
        value, metrics, memory = system.task.loss(outputs, views.targets, state.memory)
        return value, (batch_stats, memory, _named("raw", metrics))

    grads, (batch_stats, memory, metrics), loss = _value_last(pretext)(state.params)
    return Gradients(grads, state.lens_params, batch_stats, memory, metrics | {"loss": loss})


def joint_gradients(
    system: System,
    *,
    lens: "ConfigDict",
    state: TrainState,
    images: jax.Array,
    ask: Ask,
    keys: Keys,
) -> Gradients:
    """The gradients of extractor and lens from one pass over [lensed; raw].

    - L_extractor = mean of the pretext loss on lensed and on raw inputs; its cotangent is pulled
      back to the extractor's parameters only.
    - L_lens = L_adv + lambda * mean over pixels of (x - L(x))^2; the cotangent of L_adv is pulled
      back through the same linearization to the lensed pixels, and from there to the lens.

    The extractor never receives the lens's gradient, nor the lens the extractor's. `lens` is the
    config's section; where it names an attack in place of a network, that alters the inputs and
    there is no L_lens.
    """
    seen = see(lens, images, ask)
    forward = partial(_forward, system, keys, state.batch_stats, seen)
    pretext = partial(_pretext, system, seen, state.memory)
    adversarial = partial(_adversarial, system, lens.objective, seen, state.memory)
    if system.lens is None:
        slope = partial(_slope, system, keys, state, seen, adversarial)
        key = keys(Purpose.ATTACK)
        changed = attack(lens.kind, key, slope, seen.original, lens.epsilon, lens.attack_steps)
    else:
        changed, pull_lens = jax.vjp(
            lambda p: system.lens.apply({"params": p}, seen.original), state.lens_params
        )
    inputs, pull_inputs = jax.vjp(seen.show, changed)
    outputs, pull, batch_stats = jax.vjp(forward, state.params, inputs, has_aux=True)
    to_params, (memory, metrics), loss = _value_last(pretext)(outputs)
    reconstruction, to_original = jax.value_and_grad(lambda x: jnp.mean((seen.original - x) ** 2))(
        changed
    )
    metrics |= {"loss": loss, "lens_reconstruction": reconstruction}
    grads = pull(to_params)[0]
    if system.lens is None:
        return Gradients(grads, state.lens_params, batch_stats, memory, metrics)
    adversarial_loss, to_pixels = jax.value_and_grad(adversarial)(outputs)
    lens_grads = _now_and_then(
        lens.update_every,
        state.step,
        lambda: pull_lens(pull_inputs(pull(to_pixels)[1])[0] + state.lens_penalty * to_original)[0],
        jax.tree.map(jnp.zeros_like, state.lens_params),
    )
    metrics |= {"lens_adversarial": adversarial_loss, "lens_penalty": state.lens_penalty}
    return Gradients(grads, lens_grads, batch_stats, memory, metrics)


def see(lens: "ConfigDict", images: jax.Array, ask: Ask) -> Seen:
    """Divides a batch as the config's section `lens` says: the first images are altered, the last
    are not.

    With both shares 1, every image is seen altered and raw; with both 0.5, each is seen once.
    """
    views, n = ask(images), len(images)
    first, last = max(1, round(lens.lensed_fraction * n)), round(lens.raw_fraction * n)
    altered, raw = _part(views, n, 0, first), _part(views, n, n - last, n)
    if lens.acts_on == "views":
        return Seen(altered.inputs, lambda inputs: inputs, altered, raw, (first, last))

    def show(changed: jax.Array) -> jax.Array:
        return _part(ask(jnp.concatenate([changed, images[first:]])), n, 0, first).inputs

    return Seen(images[:first], show, altered, raw, (first, last))


def _part(views: Views, images: int, start: int, stop: int) -> Views:
    return jax.tree.map(lambda x: x[len(x) // images * start : len(x) // images * stop], views)


def _forward(
    system: System, keys: Keys, batch_stats: Any, seen: Seen, params: Any, inputs: jax.Array
) -> tuple[tuple[jax.Array, jax.Array], Any]:
    """The outputs for altered and for raw inputs, and the new statistics."""
    apply, altered = partial(_apply_network, system, keys), seen.altered._replace(inputs=inputs)
    if system.split:
        lensed, lensed_stats = apply(batch_stats["lensed"], params, altered)
        raw, raw_stats = apply(batch_stats["raw"], params, seen.raw)
        return (lensed, raw), {"lensed": lensed_stats, "raw": raw_stats}
    outputs, batch_stats = apply(
        batch_stats, params, jax.tree.map(lambda *parts: jnp.concatenate(parts), altered, seen.raw)
    )
    first = len(outputs) // sum(seen.images) * seen.images[0]
    return (outputs[:first], outputs[first:]), batch_stats


def _pretext(
    system: System, seen: Seen, memory: Any, outputs: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, tuple[Any, Metrics]]:
    """The extractor's loss, and the memory and the metrics."""
    value, metrics, new_memory = system.task.loss(outputs[0], seen.altered.targets, memory)
    metrics = _named("lensed", metrics)
    if seen.images[1]:
        on_raw = system.task.loss(outputs[1], seen.raw.targets, memory)
        value = (value + on_raw.value) / 2
        metrics |= _named("raw", on_raw.metrics)
    return value, (new_memory, metrics)


def _adversarial(
    system: System, objective: str, seen: Seen, memory: Any, outputs: tuple[jax.Array, Any]
) -> jax.Array:
    """L_adv of the outputs for altered inputs, the first of the two."""
    value = system.task.loss(outputs[0], seen.altered.targets, memory).value
    return make_objective(objective, system.task.has_classes)(value, system.task.logits(outputs[0]))


def _slope(
    system: System, keys: Keys, state: TrainState, seen: Seen, adversarial: Callable, x: jax.Array
) -> jax.Array:
    """The gradient of L_adv with respect to what is altered; raw inputs are left out, at half the cost."""
    batch_stats = state.batch_stats["lensed"] if system.split else state.batch_stats

    def value(x: jax.Array) -> jax.Array:
        views = seen.altered._replace(inputs=seen.show(x))
        return adversarial(_apply_network(system, keys, batch_stats, state.params, views))

    return jax.grad(value)(x)


def _apply_network(
    system: System, keys: Keys, batch_stats: Any, params: Any, views: Views
) -> tuple[jax.Array, Any]:
    outputs, updated = system.network.apply(
        {"params": params, "batch_stats": batch_stats},
        views.inputs,
        views.arrangement,
        train=True,
        mutable=["batch_stats"],
        rngs={"dropout": keys(Purpose.DROPOUT)},
    )
    return outputs, updated["batch_stats"]


def _now_and_then(every: int, step: jax.Array, compute: Callable[[], Any], otherwise: Any) -> Any:
    """`compute()` at every `every`-th step, and what is given otherwise at the others."""
    return compute() if every == 1 else jax.lax.cond(step % every == 0, compute, lambda: otherwise)


def _value_last(function: Callable) -> Callable:
    """X -> (gradient, aux, value) of a function x -> (value, aux)."""

    def gradient(x: Any) -> tuple[Any, Any, jax.Array]:
        (value, aux), grad = jax.value_and_grad(function, has_aux=True)(x)
        return grad, aux, value

    return gradient


def _named(kind: str, metrics: Metrics) -> Metrics:
    return {f"{name}_{kind}": value for name, value in metrics.items()}


def _apply(
    optimizer: optax.GradientTransformation, grads: Any, opt_state: Any, params: Any
) -> tuple[Any, Any]:
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state
