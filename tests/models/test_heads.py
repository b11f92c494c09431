import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.models.heads import ArrangedDense, PatchHead, check_head

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(3 * 9, 5))
# Of each of the 3 images, two orders of 4 patches.
ORDERS = np.array([[RNG.permutation(9)[:4] for _ in range(2)] for _ in range(3)])


def random_variables(head: nn.Module) -> dict:
    """Variables in float64, none of them 0 or 1 as at the start."""
    variables = head.init(jax.random.key(0), FEATURES, ORDERS, train=False)
    rng = np.random.default_rng(3)
    return jax.tree.map(lambda v: jnp.asarray(rng.normal(size=v.shape)), variables)


def positive(variables: dict) -> dict:
    return variables | {"batch_stats": jax.tree.map(abs, variables["batch_stats"])}


def concatenated(features: np.ndarray, params: dict) -> np.ndarray:
    """The embedded patches of each order of each image: [P * B, places * embedding]."""
    kernel, bias = (np.asarray(params["Dense_0"][name]) for name in ("kernel", "bias"))
    rows = []
    for image, orders in enumerate(ORDERS):
        for order in orders:
            parts = [features[9 * image + patch] @ kernel + bias for patch in order]
            rows.append(np.concatenate(parts))
    return np.array(rows)


def hidden_reference(features: np.ndarray, params: dict) -> np.ndarray:
    """The hidden layer before BatchNorm, for one order after the other."""
    kernel = np.asarray(params["ArrangedDense_0"]["kernel"])
    return concatenated(features, params) @ kernel.reshape(-1, kernel.shape[-1])


def logits_reference(
    hidden: np.ndarray, mean: np.ndarray, var: np.ndarray, params: dict
) -> np.ndarray:
    norm = jax.tree.map(np.asarray, params["BatchNorm_0"])
    last = jax.tree.map(np.asarray, params["Dense_1"])
    logits = np.empty((len(hidden), len(last["bias"])))
    for i, row in enumerate(hidden):
        normed = (row - mean) / np.sqrt(var + 1e-5) * norm["scale"] + norm["bias"]
        logits[i] = np.maximum(normed, 0) @ last["kernel"] + last["bias"]
    return logits


@pytest.fixture
def head(x64) -> tuple[PatchHead, dict]:
    head = PatchHead(outputs=6, embedding=4, hidden=7, dropout=0.0, dtype=jnp.float64)
    return head, positive(random_variables(head))


def test_in_evaluation_the_head_is_the_plain_sum_of_its_parts(head):
    module, variables = head
    stats, params = variables["batch_stats"]["BatchNorm_0"], variables["params"]
    hidden = hidden_reference(FEATURES, params)
    expected = logits_reference(hidden, np.asarray(stats["mean"]), np.asarray(stats["var"]), params)
    found = module.apply(variables, FEATURES, ORDERS, train=False)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_training_normalizes_over_all_orders_of_all_images(head):
    module, variables = head
    hidden = hidden_reference(FEATURES, variables["params"])
    mean, var = hidden.mean(axis=0), hidden.var(axis=0)
    found, updated = module.apply(variables, FEATURES, ORDERS, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(
        found, logits_reference(hidden, mean, var, variables["params"]), rtol=1e-6, atol=1e-8
    )
    old, new = variables["batch_stats"]["BatchNorm_0"], updated["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(new["mean"], 0.9 * old["mean"] + 0.1 * mean, rtol=1e-6)
    np.testing.assert_allclose(new["var"], 0.9 * old["var"] + 0.1 * var, rtol=1e-6)


def test_a_patch_is_found_wherever_it_is_stored(head):
    module, variables = head
    order = np.random.default_rng(1).permutation(9)
    moved = FEATURES.reshape(3, 9, 5)[:, order].reshape(27, 5)
    place = np.argsort(order)  # where each patch is now
    expected = module.apply(variables, FEATURES, ORDERS, train=False)
    np.testing.assert_allclose(
        module.apply(variables, moved, place[ORDERS], train=False), expected, rtol=1e-10
    )
    assert abs(module.apply(variables, moved, ORDERS, train=False) - expected).max() > 0.1


def test_the_logits_of_an_image_do_not_depend_on_the_others(head):
    module, variables = head
    expected = module.apply(variables, FEATURES, ORDERS, train=False)
    found = module.apply(variables, FEATURES[9:18], ORDERS[1:2], train=False)
    np.testing.assert_allclose(found, expected[2:4], rtol=1e-10)


@pytest.mark.parametrize("count", [1, 3, 40])
def test_the_arranged_layer_and_its_gradients_are_those_of_a_dense_layer_on_concatenations(
    x64, count: int
):
    rng = np.random.default_rng(2)
    patches = jnp.asarray(rng.normal(size=(2, 9, 3)))
    orders = np.array([[rng.permutation(9) for _ in range(count)] for _ in range(2)])
    weights = rng.normal(size=(2, count, 5))
    layer, dense = ArrangedDense(5, jnp.float64), nn.Dense(5, use_bias=False, dtype=jnp.float64)
    kernel = jnp.asarray(rng.normal(size=(9, 3, 5)))

    def arranged(kernel, patches):
        return jnp.sum(layer.apply({"params": {"kernel": kernel}}, patches, orders) * weights)

    def plain(kernel, patches):
        shown = jnp.stack([patches[b][orders[b]].reshape(count, 27) for b in range(2)])
        return jnp.sum(dense.apply({"params": {"kernel": kernel.reshape(27, 5)}}, shown) * weights)

    found = jax.value_and_grad(arranged, (0, 1))(kernel, patches)
    expected = jax.value_and_grad(plain, (0, 1))(kernel, patches)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("count", "products"), [(8, 8), (100, 9)])
def test_the_arranged_layer_takes_the_cheaper_way(count: int, products: int):
    layer, patches = ArrangedDense(256), jax.ShapeDtypeStruct((2, 9, 1000), jnp.float32)
    orders = jax.ShapeDtypeStruct((2, count, 9), jnp.int32)
    variables = jax.eval_shape(layer.init, jax.random.key(0), patches, orders)
    flops = jax.jit(layer.apply).lower(variables, patches, orders).cost_analysis()["flops"]
    # Each of the products is that of nine patches with their places' kernels.
    product = 2 * 2 * 9 * 1000 * 256
    assert products * product <= flops < 1.4 * products * product


def test_the_first_kernel_has_variance_one_by_the_inputs_of_all_places():
    layer = ArrangedDense(300)
    variables = layer.init(jax.random.key(0), jnp.zeros((1, 9, 50)), jnp.zeros((1, 1, 9), int))
    assert variables["params"]["kernel"].shape == (9, 50, 300)
    np.testing.assert_allclose(jnp.std(variables["params"]["kernel"]), (9 * 50) ** -0.5, rtol=0.02)


def test_dropout_leaves_out_its_fraction_of_hidden_units_in_training_only():
    head = PatchHead(outputs=400, embedding=3, hidden=400, dropout=0.25)
    orders, features = np.array([[[4, 0]], [[4, 1]], [[0, 4]]]), FEATURES.astype(np.float32)
    variables = head.init(jax.random.key(0), features, orders, train=False)
    variables["params"]["Dense_1"]["kernel"] = jnp.eye(400)  # the outputs show the hidden units
    variables["params"]["BatchNorm_0"]["bias"] = jnp.full(400, 5.0)  # all of them active

    without = head.clone(dropout=0.0)

    def train(head: PatchHead) -> np.ndarray:
        options = {"rngs": {"dropout": jax.random.key(1)}, "mutable": ["batch_stats"]}
        logits, _ = head.apply(variables, features, orders, train=True, **options)
        return np.asarray(logits)

    def evaluate(head: PatchHead) -> np.ndarray:
        return np.asarray(head.apply(variables, features, orders, train=False))

    found, expected = train(head), train(without)
    left_out = found == 0
    assert abs(left_out.mean() - 0.25) < 0.05
    np.testing.assert_allclose(found[~left_out], expected[~left_out] / 0.75, rtol=1e-5)
    np.testing.assert_array_equal(evaluate(head), evaluate(without))


def test_bfloat16_keeps_parameters_statistics_and_logits_in_float32():
    head = PatchHead(outputs=6, embedding=4, hidden=7, dtype=jnp.bfloat16)
    features = FEATURES.astype(np.float32)
    variables = head.init(jax.random.key(0), features, ORDERS, train=False)
    logits, updated = head.apply(
        variables,
        features,
        ORDERS,
        train=True,
        rngs={"dropout": jax.random.key(0)},
        mutable=["batch_stats"],
    )
    assert logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves((variables, updated))} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("embedding", "hidden", "dropout", "message"),
    [
        (0, 4, 0.5, "embedding width is 0: use 1 or more"),
        (4, -1, 0.5, "hidden width is -1"),
        (4, 4, 1.0, r"not 1.0: use 0 or more, below 1"),
        (4, 4, -0.1, "not -0.1"),
        (4, 4, float("nan"), "not nan"),
    ],
)
def test_impossible_heads_are_refused(embedding: int, hidden: int, dropout: float, message: str):
    with pytest.raises(UserError, match=message):
        check_head(embedding, hidden, dropout)
