import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.models.resnet import STEMS, BasicBlock, BottleneckBlock, ResNet, make_resnet


def shapes_of(model: ResNet, size: int) -> dict[str, tuple[int, ...]]:
    """The shapes of the taps, without computing them."""
    image = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    taps, _ = jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x, train=False), image
    )
    return {name: tap.shape for name, tap in taps.items()}


def tiny(dtype=jnp.float32) -> ResNet:
    return ResNet((1, 1), BasicBlock, width=4, stem="patch", dtype=dtype)


def random_images(count: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (count, 16, 16, 3)), jnp.float32)


def init(module: nn.Module, x: jax.Array) -> dict:
    return jax.jit(lambda x: module.init(jax.random.key(0), x, train=False))(x)


def evaluate(module: nn.Module) -> Callable:
    """The jitted function (variables, images) -> outputs in evaluation."""
    return jax.jit(lambda variables, x: module.apply(variables, x, train=False))


def train(module: nn.Module) -> Callable:
    """The jitted function (variables, images) -> (outputs, updated statistics)."""
    return jax.jit(
        lambda variables, x: module.apply(variables, x, train=True, mutable=["batch_stats"])
    )


def count_resnet50_weights() -> int:
    """Weights of a pre-activation ResNet-50, counted convolution by convolution."""
    count, incoming = 7 * 7 * 3 * 64, 64
    for blocks, width in zip((3, 4, 6, 3), (64, 128, 256, 512), strict=True):
        count += incoming * 4 * width  # the projection of the stage's first block
        for _ in range(blocks):
            count += incoming * width + 3 * 3 * width * width + width * 4 * width
            count += 2 * (incoming + width + width)  # scale and bias of three norms
            incoming = 4 * width
    return count + 2 * incoming


@pytest.mark.parametrize(
    ("stem", "size", "sides"),
    [
        ("imagenet", 224, (56, 28, 14, 7)),
        ("cifar", 32, (32, 16, 8, 4)),
        ("patch", 32, (8, 4, 2, 1)),
    ],
)
def test_each_stem_sets_the_resolution_of_the_taps(stem: str, size: int, sides: tuple[int, ...]):
    shapes = shapes_of(
        make_resnet("resnet18", width=64, stem=stem, last_stride=2, dtype=jnp.float32), size
    )
    assert shapes == {
        "block1": (2, sides[0], sides[0], 64),
        "block2": (2, sides[1], sides[1], 128),
        "block3": (2, sides[2], sides[2], 256),
        "block4": (2, sides[3], sides[3], 512),
        "pre_logits": (2, 512),
    }


def test_resnet50_has_the_published_taps():
    shapes = shapes_of(
        make_resnet("resnet50", width=64, stem="imagenet", last_stride=2, dtype=jnp.bfloat16), 224
    )
    assert shapes == {
        "block1": (2, 56, 56, 256),
        "block2": (2, 28, 28, 512),
        "block3": (2, 14, 14, 1024),
        "block4": (2, 7, 7, 2048),
        "pre_logits": (2, 2048),
    }


@pytest.mark.parametrize(
    ("name", "stem", "size", "sides"),
    [
        ("resnet50", "imagenet_dense", 64, (32, 16, 8, 8)),
        ("resnet18", "cifar", 32, (32, 16, 8, 8)),
        ("resnet18", "patch", 32, (8, 4, 2, 2)),
        ("small", "patch", 16, (4, 4)),
        ("small", "cifar", 9, (9, 9)),
    ],
)
def test_with_a_last_stride_of_one_the_last_stage_keeps_the_resolution(
    name: str, stem: str, size: int, sides: tuple[int, ...]
):
    kept, halved = (
        shapes_of(
            make_resnet(name, width=8, stem=stem, last_stride=stride, dtype=jnp.float32), size
        )
        for stride in (1, 2)
    )
    blocks = [f"block{stage + 1}" for stage in range(len(sides))]
    assert [kept[block][1:3] for block in blocks] == [(side, side) for side in sides]
    last = halved.pop(blocks[-1])
    assert last[1:3] == (-(-sides[-1] // 2),) * 2
    assert last[3] == kept.pop(blocks[-1])[3]
    assert kept == halved


def test_the_dense_stem_convolves_at_every_pixel_before_it_pools():
    stem = STEMS["imagenet_dense"](8, jnp.float32)
    x = random_images(1)
    variables = jax.jit(lambda x: stem.init(jax.random.key(0), x))(x)
    kernel = np.asarray(variables["params"]["Conv_0"]["kernel"], np.float64)
    padded = np.pad(np.asarray(x[0], np.float64), ((3, 3), (3, 3), (0, 0)))
    dense = np.empty((16, 16, 8))
    for i, j in np.ndindex(16, 16):
        dense[i, j] = np.tensordot(padded[i : i + 7, j : j + 7], kernel, 3)
    expected = np.zeros((8, 8, 8))
    for i, j in np.ndindex(8, 8):
        rows, columns = (slice(max(0, 2 * k - 1), 2 * k + 2) for k in (i, j))
        expected[i, j] = dense[rows, columns].max(axis=(0, 1))
    found = jax.jit(stem.apply)(variables, x)
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-4)


def test_resnet50_has_as_many_weights_as_the_published_network():
    model = make_resnet("resnet50", width=64, stem="imagenet", last_stride=2, dtype=jnp.float32)
    image = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))
    assert (
        count == count_resnet50_weights() == 23_500_352
    )  # of version 2, without classifier and biases


@pytest.mark.parametrize("stage_sizes", [(1,), (2, 1), (1, 1, 2, 1)])
def test_the_names_of_the_taps_are_in_the_order_of_the_layers(stage_sizes: tuple[int, ...]):
    model = ResNet(stage_sizes, BasicBlock, width=4, stem="cifar")
    blocks = [f"block{stage + 1}" for stage in range(len(stage_sizes))]
    assert model.tap_names == (*blocks, "pre_logits")
    taps, _ = jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x, train=False), random_images(1)
    )
    assert sorted(taps) == sorted(model.tap_names)


def test_a_wider_network_has_wider_taps():
    shapes = shapes_of(
        make_resnet("small", width=12, stem="patch", last_stride=2, dtype=jnp.float32), 16
    )
    assert shapes == {"block1": (2, 4, 4, 12), "block2": (2, 2, 2, 24), "pre_logits": (2, 24)}


def test_in_evaluation_the_taps_of_an_image_do_not_depend_on_its_batch():
    model, images = tiny(), random_images(4)
    variables = init(model, images)
    apply = evaluate(model)
    together = apply(variables, images)
    for i in range(4):
        alone = apply(variables, images[i : i + 1])
        for tap, value in alone.items():
            np.testing.assert_allclose(value[0], together[tap][i], rtol=0, atol=1e-5)


def test_in_training_an_image_is_normalized_by_the_statistics_of_its_batch():
    model, images = tiny(), random_images(4)
    variables = init(model, images)
    apply = train(model)
    one, _ = apply(variables, images)
    other, _ = apply(variables, images.at[3].multiply(3))
    assert abs(one["pre_logits"][0] - other["pre_logits"][0]).max() > 1e-3


def test_training_moves_the_running_statistics_a_tenth_of_the_way():
    model, images = tiny(), random_images(6)
    variables = init(model, images)
    taps, updated = train(model)(variables, images)
    last = np.asarray(taps["block2"], np.float64)
    stats = updated["batch_stats"]["BatchNorm_0"]  # the one before pooling
    mean, variance = last.mean(axis=(0, 1, 2)), last.var(axis=(0, 1, 2))
    np.testing.assert_allclose(stats["mean"], 0.1 * mean, rtol=0, atol=1e-6)
    np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * variance, rtol=1e-5)
    normed = (last - mean) / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(
        taps["pre_logits"], np.maximum(normed, 0).mean(axis=(1, 2)), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize(("stride", "width"), [(1, 4), (1, 6), (2, 4)])
def test_a_block_that_adds_nothing_is_the_identity_or_the_projection_of_its_activation(
    stride: int, width: int
):
    block, x = BasicBlock(width, stride, jnp.float32), random_images(2).reshape(2, 16, 12, 4)
    variables = init(block, x)
    last = jax.tree.map(jnp.zeros_like, variables["params"]["Conv_1"])
    params = variables["params"] | {"Conv_1": last}
    out = evaluate(block)(variables | {"params": params}, x)
    if stride == 1 and width == 4:
        assert "projection" not in params
        np.testing.assert_array_equal(out, x)
        return
    kernel = np.asarray(params["projection"]["kernel"], np.float64)[0, 0]
    activation = np.maximum(np.asarray(x, np.float64) / np.sqrt(1 + 1e-5), 0)
    expected = activation[:, ::stride, ::stride] @ kernel
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", [BasicBlock, BottleneckBlock])
def test_blocks_with_a_zeroed_last_layer_start_as_shortcuts_and_learn(kind: type):
    model = ResNet((2, 2), kind, width=4, stem="patch", zero_init_residual=True)
    images = random_images(4)
    variables = init(model, images)
    params = variables["params"]
    last = "Conv_1" if kind is BasicBlock else "Conv_2"
    for index in range(4):
        block = params[f"{kind.__name__}_{index}"]
        assert not np.any(block[last]["kernel"])
        assert np.all(np.any(block["Conv_0"]["kernel"], axis=(0, 1, 2)))

    # The second block of a stage adds nothing, so that the tap is what the first one gave.
    without_second = {name: leaf for name, leaf in params.items() if name != f"{kind.__name__}_1"}
    short = ResNet((1, 2), kind, width=4, stem="patch", zero_init_residual=True)
    renamed = dict(without_second)
    for index in (2, 3):
        renamed[f"{kind.__name__}_{index - 1}"] = renamed.pop(f"{kind.__name__}_{index}")
    stats = init(short, images)["batch_stats"]
    expected = evaluate(short)({"params": renamed, "batch_stats": stats}, images)
    taps = evaluate(model)(variables, images)
    np.testing.assert_allclose(taps["block1"], expected["block1"], atol=1e-6)

    # Every zeroed layer has a gradient: no branch is dead.
    def value(params: dict) -> jax.Array:
        taps, _ = train(model)(variables | {"params": params}, images)
        return jnp.sum(jnp.sin(taps["pre_logits"]))

    gradients = jax.grad(value)(params)
    for index in range(4):
        assert np.any(gradients[f"{kind.__name__}_{index}"][last]["kernel"])


def test_a_bottleneck_puts_its_stride_into_the_three_by_three_convolution():
    block, x = BottleneckBlock(4, 2, jnp.float32), jnp.ones((1, 8, 8, 8))
    variables, apply = init(block, x), evaluate(block)
    assert jax.eval_shape(apply, variables, x).shape == (1, 4, 4, 16)
    kernels = {name: p["kernel"].shape for name, p in variables["params"].items() if "kernel" in p}
    assert kernels == {
        "projection": (1, 1, 8, 16),
        "Conv_0": (1, 1, 8, 4),
        "Conv_1": (3, 3, 4, 4),
        "Conv_2": (1, 1, 4, 16),
    }
    # Every input pixel counts, which it would not with the stride in the first convolution.
    gradient = jax.grad(lambda x: jnp.sum(apply(variables, x) ** 2))(x)
    assert (abs(gradient).sum(axis=-1) > 0).all()


def test_bfloat16_computes_with_parameters_statistics_and_features_in_float32():
    model, images = tiny(jnp.bfloat16), random_images(2)
    variables = init(model, images)
    taps, updated = train(model)(variables, images)
    assert {leaf.dtype for leaf in jax.tree.leaves((variables, updated))} == {jnp.dtype("float32")}
    assert taps["block1"].dtype == taps["block2"].dtype == jnp.bfloat16
    assert taps["pre_logits"].dtype == jnp.float32


@pytest.mark.parametrize(
    ("name", "stem", "legal"),
    [
        ("vgg", "cifar", "resnet50, resnet18, small"),
        ("small", "conv", "imagenet, imagenet_dense, cifar, patch"),
    ],
)
def test_unknown_names_are_refused_with_the_known_ones(name: str, stem: str, legal: str):
    with pytest.raises(UserError, match=legal):
        make_resnet(name, width=4, stem=stem, last_stride=2, dtype=jnp.float32)


def test_with_remat_less_is_kept_for_the_backward_pass_and_the_parameters_are_the_same():
    images = random_images(4)

    def kept(remat: bool) -> tuple[int, dict]:
        model = ResNet((2, 2), BasicBlock, width=8, stem="cifar", remat=remat)
        variables = init(model, images)
        pull = jax.eval_shape(lambda x: jax.vjp(train(model), variables, x)[1], images)
        return sum(leaf.size for leaf in jax.tree.leaves(pull)), variables

    (everything, variables), (less, same) = kept(False), kept(True)
    assert less < everything / 3
    jax.tree.map(np.testing.assert_array_equal, same, variables)
