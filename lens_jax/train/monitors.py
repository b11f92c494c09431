"""What is watched while a network trains: its embeddings at each step, its features now and then.

Pure functions. Nothing here has a gradient that reaches the network, and nothing needs another pass
through it in a step.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lens_jax.lens.lens import LENSED, RAW
from lens_jax.losses import embeddings
from lens_jax.losses.neighbors import weighted_neighbors
from lens_jax.ops import color
from lens_jax.tasks.base import Outputs
from lens_jax.train.probe import Probe, accuracy, apply, standardize
from lens_jax.train.state import TrainState
from lens_jax.train.system import System

ByKind = dict[str, Any]


class Labeled(NamedTuple):
    """Features [N, f] of images and their classes, int [N]; below 0 for an image that has none."""

    features: jax.Array
    labels: jax.Array


class Observed(NamedTuple):
    """What a step has computed of the images of a batch, by kind of inputs.

    Attributes:
      outputs: of the head.
      targets: of the target network; empty without one.
      features: [V * B, f], the extractor's, of the views that the trained network sees.

    """

    outputs: ByKind
    targets: ByKind
    features: ByKind


def monitor_step(
    system: System, state: TrainState, observed: Observed, labels: jax.Array | None
) -> tuple[Any, dict[str, jax.Array]]:
    """The gradient of the online probe, None without one, and the numbers of `describe`.

    Of raw inputs, where the network sees any. The probe reads the mean features of the views of
    each image, and has the metric "probe_accuracy".

    Args:
      system: what is trained.
      state: of which only the probe is read.
      observed: what the step has computed of the batch.
      labels: the classes of its images, int [B]; None: nothing is watched.

    """
    if labels is None or not system.monitored:
        return None, {}
    # The images of the batch that are seen in this kind, and their features.
    kind = RAW if RAW in observed.outputs else LENSED
    labels = labels[system.lens.rows(len(labels))[kind]]
    features = observed.features[kind]
    by_image = features.reshape(len(labels), -1, features.shape[-1])

    # What the loss compares or, for a task that compares nothing, the features of the first view.
    outputs = Outputs(observed.outputs[kind], observed.targets.get(kind))
    compared = system.task.embeddings(outputs) or (by_image[:, 0],)
    metrics = describe(*compared[:2])
    if system.probe is None:
        return None, metrics

    mean_features = jnp.mean(by_image, axis=1)
    params = state.probe["params"]
    gradient, accuracy = system.probe.gradient(params, mean_features, labels)
    return gradient, metrics | {"probe_accuracy": accuracy}


def describe(rows: jax.Array, partners: jax.Array | None = None) -> dict[str, jax.Array]:
    """How embeddings [B, f] are spread and, with those of another view, how they are aligned.

    Numbers that take a product of matrices at most, see `losses.embeddings`, and the length f.
    """
    size = jnp.asarray(rows.shape[-1], rows.dtype)
    metrics = {
        "embedding_size": size,
        "embedding_std": embeddings.standard_deviation(rows),
        "embedding_rank": embeddings.participation_rank(rows),
        "uniformity": embeddings.uniformity(rows),
    }
    if partners is not None:
        metrics["alignment"] = embeddings.alignment(rows, partners)
    return metrics


def compute_features(system: System, state: TrainState, images: jax.Array) -> jax.Array:
    """Images uint8 [B, h, w, 3] -> features [B, f], as evaluation has them.

    The mean over the task's crops, by running statistics, without a planted shortcut. The images
    are raw, unless the extractor never sees such: then the lens comes first.
    """
    task, network = system.task, system.network
    images = color.to_unit(images)
    kind = system.lens.kinds[-1]

    # The lens comes before the cropping or after it, as in training.
    if kind == LENSED and system.lens.acts_on == "images":
        crops = task.crops(apply_lens(system, state, images))
    elif kind == LENSED:
        crops = apply_lens(system, state, task.crops(images))
    else:
        crops = task.crops(images)

    stats = state.batch_stats[kind] if system.lens.split else state.batch_stats
    variables = {"params": state.params, "batch_stats": stats}
    features = network.apply(variables, crops, train=False, method="taps")["pre_logits"]
    by_image = features.reshape(len(images), -1, features.shape[-1])
    return jnp.mean(by_image, axis=1)


def apply_lens(system: System, state: TrainState, images: jax.Array) -> jax.Array:
    """Images through the lens; as they are where no network alters them."""
    if system.lens_network is None:
        return images
    return system.lens_network.apply({"params": state.lens_params}, images)


def describe_features(features: jax.Array) -> dict[str, jax.Array]:
    """How the features [N, f] of images are spread, without labels."""
    return {
        "feature_std": embeddings.standard_deviation(features),
        "rankme": embeddings.rankme(features),
        "alpha_req": embeddings.alpha_req(features),
    }


def classify(probe: Probe, params: Any, train: Labeled, test: Labeled) -> dict[str, jax.Array]:
    """The accuracy on test images of the nearest training images, and of the online probe.

    Neighbors are weighted, with k = 20 and t = 0.07 as in DINO, see `weighted_neighbors`.
    """
    votes = weighted_neighbors(
        train.features,
        train.labels,
        test.features,
        classes=probe.classes,
    )
    logits = apply(params, standardize(test.features))
    return {
        "knn_accuracy": accuracy(votes, test.labels),
        "probe_test_accuracy": accuracy(logits, test.labels),
    }
