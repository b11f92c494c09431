"""What is watched in a step and of features, against what is computed by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.eval.features import make_features
from lens_jax.eval.frozen import Frozen
from lens_jax.tasks.base import Outputs, join_views
from lens_jax.train import monitors
from lens_jax.train.monitors import Labeled, Observed
from tests.losses import references
from tests.train.tiny import build, random_batch, random_state, with_own_networks

TWO_VIEWS = {"hidden": 5, "embedding": 4}
JIGSAW = {"cell": 5, "patch": 4, "embedding": 6, "hidden": 8, "permutations": 10, "drawn": 3}
VIEWS = [np.random.default_rng(view).normal(size=(6, 4)) for view in range(3)]
OF_EMBEDDINGS = {"embedding_std", "embedding_rank", "embedding_size", "uniformity"}


@pytest.fixture
def make(tiny_config, x64):
    """Builds a config whose training is watched, in float64."""

    def make(task: str, options: dict | None = None, **lens):
        overrides = {"dtype": "float64", "train.monitors": True, "lens.objective": "full"}
        overrides |= {f"lens.{name}": value for name, value in lens.items()}
        return build(tiny_config(overrides, {"name": task} | (options or {})), with_own_networks)

    return make


@pytest.mark.parametrize(
    ("task", "options", "online", "target", "expected"),
    [
        ("simclr", TWO_VIEWS, VIEWS[:2], None, VIEWS[:2]),
        ("exemplar", {"copies": 3, "embedding": 4}, VIEWS, None, VIEWS),
        ("moco", {"queue": 9, **TWO_VIEWS}, VIEWS[:1], VIEWS[1:2], VIEWS[:2]),
        (
            "moco",
            {"queue": 9, "symmetric": True, **TWO_VIEWS},
            VIEWS[:2],
            [VIEWS[0], VIEWS[2]],
            [VIEWS[0], VIEWS[2]],
        ),
        ("barlow_twins", TWO_VIEWS, VIEWS[:2], None, VIEWS[:2]),
        ("byol", TWO_VIEWS, VIEWS[:2], [VIEWS[2], VIEWS[0]], [VIEWS[0], VIEWS[0]]),
        ("rotation", {}, VIEWS, None, []),
        ("supervised", {}, VIEWS[:1], None, []),
    ],
)
def test_the_embeddings_are_those_that_the_loss_compares(
    make, task: str, options: dict, online: list, target: list | None, expected: list
):
    system = make(task, options, kind="none").system
    targets = None if target is None else join_views(*target)
    found = system.task.embeddings(Outputs(join_views(*online), targets))
    assert len(found) == len(expected)
    for rows, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(rows, wanted)


@pytest.mark.parametrize(
    ("kinds", "watched", "labeled"),
    [(("lensed", "raw"), "raw", slice(2, 8)), (("lensed",), "lensed", slice(0, 6))],
)
def test_a_step_is_watched_by_raw_inputs_where_there_are_any(make, kinds, watched: str, labeled):
    raw_fraction = 0.75 if "raw" in kinds else 0.0
    built = make("simclr", TWO_VIEWS, lensed_fraction=0.75, raw_fraction=raw_fraction)
    width = len(jax.eval_shape(built.init).probe["params"]["kernel"])
    rng = np.random.default_rng(0)
    outputs = {kind: rng.normal(size=(12, 4)) for kind in kinds}
    features = {kind: rng.normal(size=(12, width)) for kind in kinds}
    labels = np.array([0, 1, 2, 2, 1, 0, -1, 1])

    state = random_state(built)
    observed = Observed(outputs, {}, features)
    gradient, found = monitors.monitor_step(built.system, state, observed, jnp.asarray(labels))

    first, second = outputs[watched][::2], outputs[watched][1::2]
    expected = {
        "embedding_std": references.standard_deviation(first),
        "embedding_rank": references.participation_rank(first),
        "embedding_size": 4,
        "uniformity": references.uniformity(first),
        "alignment": references.alignment(first, second),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, err_msg=name)

    means = (features[watched][::2] + features[watched][1::2]) / 2
    wanted, accuracy = built.system.probe.gradient(
        state.probe["params"], jnp.asarray(means), jnp.asarray(labels[labeled])
    )
    jax.tree.map(np.testing.assert_array_equal, gradient, wanted)
    assert found["probe_accuracy"] == accuracy
    assert found.keys() == {*expected, "probe_accuracy"}


def test_where_nothing_is_compared_the_features_of_the_first_view_are_watched(make):
    built = make("rotation", kind="none")
    width = len(jax.eval_shape(built.init).probe["params"]["kernel"])
    features = np.random.default_rng(0).normal(size=(12, width))
    observed = Observed({"raw": np.zeros((12, 4))}, {}, {"raw": features})
    _, found = monitors.monitor_step(
        built.system, random_state(built), observed, jnp.zeros(3, jnp.int32)
    )
    assert found.keys() == OF_EMBEDDINGS | {"probe_accuracy"}
    expected = references.standard_deviation(features[::4])
    np.testing.assert_allclose(found["embedding_std"], expected, rtol=1e-9)
    assert found["embedding_size"] == width


@pytest.mark.parametrize("parts", [1, 2])
def test_the_numbers_of_a_step_are_the_means_over_its_parts(tiny_config, parts: int):
    overrides = {"lens.kind": "none", "train.monitors": True, "train.accumulate": parts}
    built = build(tiny_config(overrides, {"name": "simclr", **TWO_VIEWS}))
    _, found = built.step(built.init(), random_batch(8))
    assert found.keys() >= OF_EMBEDDINGS | {"alignment", "probe_accuracy"}
    assert found["embedding_size"] == 4
    assert 1 <= found["embedding_rank"] <= min(4, 8 // parts)


@pytest.mark.parametrize(
    ("task", "options", "lens", "representation"),
    [
        ("rotation", {}, {"kind": "none"}, "raw"),
        ("rotation", {}, {"batch_norm": "split"}, "raw"),
        ("jigsaw", JIGSAW, {"acts_on": "images"}, "raw"),
        ("jigsaw", JIGSAW, {"acts_on": "images", "raw_fraction": 0.0}, "lensed"),
        ("exemplar", {"copies": 2, "size": 8}, {"raw_fraction": 0.0}, "lensed"),
    ],
)
def test_features_are_those_of_evaluation(make, task, options, lens: dict, representation: str):
    built = make(task, options, **lens)
    state = random_state(built)
    positive = jax.tree.map(jnp.abs, state.batch_stats)
    state = state.replace(batch_stats=positive)
    images = jnp.asarray(random_batch(3)["image"])
    found = monitors.compute_features(built.system, state, images)

    frozen = Frozen(0, None, {}, built.system, state)
    expected = make_features(frozen, representation, ("pre_logits",))(state, images)["pre_logits"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_test_images_are_classified_by_their_neighbors_and_by_the_probe(make):
    probe = make("rotation", kind="none").system.probe
    rng = np.random.default_rng(0)
    centers = np.eye(3, 4)
    labels = np.arange(60) % 3
    train = Labeled(jnp.asarray(centers[labels] + 0.1 * rng.normal(size=(60, 4))), labels)
    test = Labeled(train.features[:30], jnp.asarray(labels[:30]).at[:3].set(-1))
    params = {"kernel": jnp.eye(4, 3), "bias": jnp.zeros(3)}
    found = monitors.classify(probe, params, train, test)
    assert found == {"knn_accuracy": 1, "probe_test_accuracy": 1}

    turned = monitors.classify(
        probe, {"kernel": jnp.roll(jnp.eye(4, 3), 1, axis=1), "bias": jnp.zeros(3)}, train, test
    )
    assert turned == {"knn_accuracy": 1, "probe_test_accuracy": 0}


def test_without_labels_or_monitors_there_is_nothing_of_them(make, tiny_config):
    built = make("rotation", kind="none")
    state = random_state(built)
    observed = Observed({"raw": jnp.zeros((4, 4))}, {}, {"raw": jnp.ones((4, 8))})
    unlabeled = built.system._replace(probe=None)
    gradient, found = monitors.monitor_step(unlabeled, state, observed, jnp.zeros(1, jnp.int32))
    assert gradient is None
    assert found.keys() == OF_EMBEDDINGS
    off = built.system._replace(monitored=False)
    assert monitors.monitor_step(off, state, observed, jnp.zeros(1, jnp.int32)) == (None, {})
    assert build(tiny_config()).init().probe == {}
