"""The forward passes of the trained network and of the target network, by kinds of inputs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from lens_jax.tasks.base import Views
from lens_jax.train.division import ByKind, Division, choose_views, divide_kinds, join_kinds
from lens_jax.train.state import TrainState
from lens_jax.train.system import Purpose, System

Keys = Callable[[Purpose], jax.Array]


class Left(NamedTuple):
    """What a pass through the network leaves behind, beside its outputs.

    Attributes:
      stats: BatchNorm's new statistics.
      features: [V * N, f] of the N images whose views it saw; by kind where the outputs are.

    """

    stats: Any
    features: Any


class Pass(NamedTuple):
    """What stays the same in one pass over a batch."""

    system: System
    state: TrainState
    division: Division
    keys: Keys


def target_outputs(this: Pass, inputs: ByKind) -> tuple[ByKind, Any]:
    """The target network's outputs by kind, without a gradient, and its new statistics."""
    target = this.system.target
    if target is None:
        return {}, {}
    params, stats = this.state.target_params, this.state.target_stats
    outputs, left = apply_network(this, params, stats, inputs, target.views, method="target")
    return jax.lax.stop_gradient(outputs), left.stats


def online_outputs(this: Pass, params: Any, inputs: ByKind) -> tuple[ByKind, Left]:
    """The trained network's outputs by kind, and what it leaves behind."""
    stats = this.state.batch_stats
    return apply_network(this, params, stats, inputs, this.system.task.online_views)


def apply_network(
    this: Pass,
    params: Any,
    stats: Any,
    inputs: ByKind,
    chosen: tuple[int, ...] | None,
    method: str | None = None,
) -> tuple[ByKind, Left]:
    """Outputs by kind for the chosen views of each image, and what the network leaves behind.

    One pass over all kinds, so that BatchNorm sees them together; or one for each kind, where its
    statistics are split.
    """
    network = this.system.network
    division = this.division

    def apply(stats: Any, views: Views) -> tuple[Any, Left]:
        outputs, updated = network.apply(
            {"params": params, "batch_stats": stats},
            views.inputs,
            views.context,
            train=True,
            method=method,
            mutable=["batch_stats", "intermediates"],
            rngs={"dropout": this.keys(Purpose.DROPOUT)},
        )
        *_, features = updated["intermediates"]["features"]
        return outputs, Left(updated.get("batch_stats", {}), features)

    # The views that this network sees, and of how many images they are.
    views_by_kind = {}
    images = {}
    for kind, kind_inputs in inputs.items():
        views = division.views[kind]._replace(inputs=kind_inputs, labels=None)
        views_by_kind[kind] = choose_views(views, chosen, division.per_image)
        images[kind] = len(kind_inputs) // division.per_image

    if not this.system.lens.split:
        outputs, left = apply(stats, join_kinds(views_by_kind))
        features = divide_kinds(left.features, images)
        return divide_kinds(outputs, images), left._replace(features=features)

    outputs = {}
    features = {}
    new_stats = dict(stats)
    for kind, views in views_by_kind.items():
        outputs[kind], left = apply(stats[kind], views)
        new_stats[kind], features[kind] = left
    return outputs, Left(new_stats, features)
