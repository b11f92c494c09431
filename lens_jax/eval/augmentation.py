"""How much features tell of augmentations: parameters regressed from an image and its view.

Features that are invariant to an operation tell nothing of it. EquiMod is to keep them from that
(Devillers & Lefort, 2022, arXiv 2211.01244).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lens_jax.data.records import Source
from lens_jax.errors import UserError
from lens_jax.eval.frozen import Frozen
from lens_jax.eval.passes import run_pass
from lens_jax.ops import color
from lens_jax.ops.draws import NAMES
from lens_jax.tasks.base import Batch
from lens_jax.train.monitors import alter, variables_of
from lens_jax.train.state import TrainState
from lens_jax.train.system import Purpose, make_key

# Strengths of the penalty that ridge regression chooses from, for standardized features.
STRENGTHS = tuple(10.0**power for power in range(-1, 6))


class Pairs(NamedTuple):
    """Images and views of them, n in all.

    Attributes:
      features: those of the image and then those of its view, [n, 2 d].
      parameters: of the augmentation that made the view, [n, 18], see `Parameters.vector`.

    """

    features: np.ndarray
    parameters: np.ndarray


def measure_r2(frozen: Frozen, train: Source, test: Source, examples: int) -> dict[str, float]:
    """R2 of each parameter of the run's augmentations, see `regress`, and their "mean".

    Regressed from at most `examples` images of `train`, and tested on as many of `test`.
    """
    train_pairs = extract_pairs(frozen, train.subsample(examples))
    test_pairs = extract_pairs(frozen, test.subsample(examples))
    scores = regress(train_pairs, test_pairs)
    return scores | {"mean": sum(scores.values()) / len(scores)}


def extract_pairs(frozen: Frozen, source: Source) -> Pairs:
    """A pair for each image of a source that decodes, and for each augmentation of the run.

    The views are drawn anew for each batch, and alike in every call. The features are those before
    the head, by running statistics and without a planted shortcut; of lensed images only where the
    extractor never sees raw ones.

    Raises `UserError` for a task that represents an image by several crops.
    """

    def compute(state: TrainState, batch: Batch) -> tuple[list[Pairs], jax.Array]:
        current = frozen._replace(state=state)
        return pair_batch(current, batch), batch["mask"]

    features, parameters = [], []
    for pairs, mask in run_pass(frozen.config.data, source, compute, frozen.state):
        for of_view in pairs:
            features.append(of_view.features[mask])
            parameters.append(of_view.parameters[mask])
    return Pairs(np.concatenate(features), np.concatenate(parameters))


def pair_batch(frozen: Frozen, batch: Batch) -> list[Pairs]:
    """The pairs of all images of a batch, for each augmentation of the run."""
    system, config = frozen.system, frozen.config
    images = color.to_unit(batch["image"])
    images = alter(system, frozen.state, images, "images")
    whole = system.task.crops(images)
    if len(whole) != len(images):
        raise UserError(
            f"task {config.task.name!r} represents an image by several crops, and here whole "
            "images are compared with their views: give a run of another task"
        )
    count, side, _, _ = whole.shape
    of_images = view_features(frozen, whole)

    # The first image's number tells batches apart.
    key = make_key(config.seed, batch["index"][0], Purpose.VALIDATION)
    pairs = []
    for view, augmentation in enumerate(system.augmentations):
        view_key = jax.random.fold_in(key, view)
        height, width = images.shape[1:3]
        drawn = augmentation.draw(view_key, count, height, width)
        views = augmentation.apply(images, drawn, side)

        of_views = view_features(frozen, views)
        both = jnp.concatenate([of_images, of_views], axis=1)
        pairs.append(Pairs(both, drawn.vector()))
    return pairs


def view_features(frozen: Frozen, views: jax.Array) -> jax.Array:
    """Views [N, s, s, 3] in [-1, 1] -> features [N, d], through the lens where it acts on views."""
    system, state = frozen.system, frozen.state
    inputs = alter(system, state, views, "views")
    variables = variables_of(system, state)
    taps = system.network.apply(variables, inputs, train=False, method="taps")
    return taps["pre_logits"].astype(jnp.float32)


def regress(train: Pairs, test: Pairs) -> dict[str, float]:
    """R2 on the test pairs of ridge regression of each parameter from the features, by its name.

    At most 1, where a parameter is told exactly, and 0 or a little less where nothing is told.
    Parameters that do not vary are left out. Features are standardized, and the strength of the
    penalty is chosen for each parameter by leaving out one training pair at a time.
    """
    # Imported only now, as all else does without it.
    from sklearn.linear_model import RidgeCV
    from sklearn.metrics import r2_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    varies_in_train = np.ptp(train.parameters, axis=0) > 0
    varies_in_test = np.ptp(test.parameters, axis=0) > 0
    (columns,) = np.nonzero(varies_in_train & varies_in_test)
    if len(columns) == 0:
        raise UserError("nothing was drawn for the views: give a run with augmentations")

    # In one scale, so that the strengths mean the same for all.
    scaler = StandardScaler().fit(train.parameters[:, columns])
    wanted = scaler.transform(train.parameters[:, columns])
    ridge = RidgeCV(STRENGTHS, alpha_per_target=True)
    model = make_pipeline(StandardScaler(), ridge)
    model.fit(train.features.astype(np.float64), wanted)

    expected = scaler.transform(test.parameters[:, columns])
    found = model.predict(test.features.astype(np.float64)).reshape(expected.shape)
    scores = r2_score(expected, found, multioutput="raw_values")
    names = [NAMES[column] for column in columns]
    return dict(zip(names, scores.tolist(), strict=True))
