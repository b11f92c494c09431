from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.models.resnet import STEMS, make_resnet
from lens_jax.models.resnet_v1 import ROOTS, Bottleneck, ResNetV1
from lens_jax.models.torchvision import from_torchvision, to_torchvision
from lens_jax.ops import color

# What PyTorch 2.13 made of `tiny_images` by the weights of `tiny_arrays`: tests/models/torch_resnet
# as ResNet((1, 1), 2). Rows of images.
TINY = np.array(
    [
        [0.5366467, 5.6512895, 0.05799825, 0.03940476, 0.3469577, 0, 1.5891714, 0.54592425],
        [3.594802, 0.09797382, 2.6906736, 1.1896511, 0, 0.88543844, 0, 1.0689361],
        [0.1178842, 7.160481, 0.35816926, 0.06459352, 0.22463742, 0, 1.3267322, 0.2834554],
        [2.017993, 0.5273294, 2.435723, 3.1466956, 0, 1.314609, 0, 0.9527382],
    ]
).reshape(2, 16)


def shapes_of(model: ResNetV1) -> dict:
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    return jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)


def evaluate(model) -> Callable:
    return jax.jit(lambda variables, x: model.apply(variables, x, train=False))


def tiny() -> ResNetV1:
    return ResNetV1((1, 1), width=2)


def tiny_arrays() -> dict[str, np.ndarray]:
    """Arrays of `tiny()` by torchvision's names: cosines of their places, in sorted order."""
    names = ["bn1.bias", "bn1.running_mean", "bn1.running_var", "bn1.weight", "conv1.weight"]
    shapes = {"conv1.weight": (2, 3, 7, 7)} | dict.fromkeys(names[:4], (2,))
    for stage, (before, width) in enumerate([(2, 2), (8, 4)], 1):
        for layer, channels in (("bn1", width), ("bn2", width), ("bn3", 4 * width)):
            for leaf in ("bias", "running_mean", "running_var", "weight"):
                shapes[f"layer{stage}.0.{layer}.{leaf}"] = (channels,)
        for leaf in ("bias", "running_mean", "running_var", "weight"):
            shapes[f"layer{stage}.0.downsample.1.{leaf}"] = (4 * width,)
        shapes[f"layer{stage}.0.conv1.weight"] = (width, before, 1, 1)
        shapes[f"layer{stage}.0.conv2.weight"] = (width, width, 3, 3)
        shapes[f"layer{stage}.0.conv3.weight"] = (4 * width, width, 1, 1)
        shapes[f"layer{stage}.0.downsample.0.weight"] = (4 * width, before, 1, 1)
    arrays = {}
    others = ("fc.bias", "fc.weight", *(name for name in shapes if name.endswith("running_var")))
    counters = [name.replace("running_var", "num_batches_tracked") for name in others[2:]]
    for seed, name in enumerate(sorted([*shapes, "fc.bias", "fc.weight", *counters])):
        if name in shapes:
            values = np.cos(np.arange(np.prod(shapes[name])) + seed).reshape(shapes[name])
            arrays[name] = (values + 1.5 * name.endswith("var")).astype(np.float32)
    return arrays


def tiny_images() -> np.ndarray:
    return (np.arange(2 * 9 * 11 * 3) * 37 % 256).astype(np.uint8).reshape(2, 9, 11, 3)


def test_features_by_weights_under_torchvision_names_are_those_of_pytorch():
    variables = from_torchvision(tiny_arrays(), shapes_of(tiny()), "file")
    taps = evaluate(tiny())(variables, color.to_unit(tiny_images()))
    np.testing.assert_allclose(taps["pre_logits"], TINY, rtol=1e-4, atol=1e-5)


def test_weights_go_in_and_out_unchanged():
    arrays = tiny_arrays()
    back = to_torchvision(from_torchvision(arrays, shapes_of(tiny()), "file"))
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].flags.c_contiguous


def convolve(x: np.ndarray, weight: np.ndarray, stride: int) -> np.ndarray:
    """A convolution with loops: x [h, w, C], weight [D, C, k, k] padded by k // 2."""
    outputs, _, side, _ = weight.shape
    pad = side // 2
    padded = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    height = (x.shape[0] + 2 * pad - side) // stride + 1
    width = (x.shape[1] + 2 * pad - side) // stride + 1
    found = np.zeros((height, width, outputs))
    for i, j, d in np.ndindex(*found.shape):
        for k, m, c in np.ndindex(side, side, x.shape[2]):
            found[i, j, d] += padded[i * stride + k, j * stride + m, c] * weight[d, c, k, m]
    return found


def normalize(x: np.ndarray, arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    deviation = np.sqrt(arrays[f"{name}.running_var"] + 1e-5)
    centered = x - arrays[f"{name}.running_mean"]
    return centered / deviation * arrays[f"{name}.weight"] + arrays[f"{name}.bias"]


@pytest.mark.parametrize(("width", "stride", "size"), [(2, 2, (6, 5)), (3, 1, (4, 3))])
def test_a_bottleneck_is_that_of_a_reference_with_loops(width, stride, size, x64):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(*size, 5))
    block = Bottleneck(width, stride, jnp.float64)
    variables = block.init(jax.random.key(0), jnp.asarray(x[None]), train=False)
    variables = jax.tree.map(lambda leaf: rng.uniform(0.3, 1, leaf.shape) - 0.2, variables)
    arrays = to_torchvision({name: {"b": tree} for name, tree in variables.items()})

    y = normalize(convolve(x, arrays["b.conv1.weight"], 1), arrays, "b.bn1")
    y = convolve(np.maximum(y, 0), arrays["b.conv2.weight"], stride)
    y = np.maximum(normalize(y, arrays, "b.bn2"), 0)
    y = normalize(convolve(y, arrays["b.conv3.weight"], 1), arrays, "b.bn3")
    shortcut = convolve(x, arrays["b.downsample.0.weight"], stride)
    expected = np.maximum(y + normalize(shortcut, arrays, "b.downsample.1"), 0)

    found = evaluate(block)(variables, x[None])
    np.testing.assert_allclose(found[0], expected, rtol=1e-9, atol=1e-9)


def test_resnet50_has_as_many_weights_as_torchvision_says():
    model = make_resnet("resnet50_v1", stem="imagenet")
    params = shapes_of(model)["params"]
    count = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    # 25,557,032 with the classifier of 2048 to 1000.
    assert count == 25_557_032 - 2048 * 1000 - 1000


@pytest.mark.parametrize("stem", STEMS)
def test_each_stem_and_the_last_stride_set_the_resolution_as_in_the_other_networks(stem: str):
    assert ROOTS.keys() == STEMS.keys()
    image = jax.ShapeDtypeStruct((2, 48, 48, 3), jnp.float32)
    shapes = {}
    for name in ("resnet50", "resnet50_v1"):
        model = make_resnet(name, stem=stem, width=4, last_stride=1, dtype=jnp.bfloat16)
        init = jax.eval_shape(
            lambda x, model=model: model.init_with_output(jax.random.key(0), x, train=False), image
        )
        shapes[name] = {tap: (leaf.shape, leaf.dtype) for tap, leaf in init[0].items()}
    assert shapes["resnet50"] == shapes["resnet50_v1"]


def test_blocks_with_a_zeroed_last_scale_start_as_shortcuts_and_learn():
    model = ResNetV1((1, 2), width=4, stem="patch", zero_init_residual=True)
    images = jax.random.uniform(jax.random.key(0), (4, 16, 16, 3), minval=-1)
    variables = jax.jit(lambda x: model.init(jax.random.key(0), x, train=False))(images)

    def value(params: dict) -> jax.Array:
        taps, _ = model.apply(
            variables | {"params": params}, images, train=True, mutable=["batch_stats"]
        )
        return jnp.sum(jnp.sin(taps["pre_logits"]))

    gradients = jax.jit(jax.grad(value))(variables["params"])
    short = ResNetV1((1, 1), width=4, stem="patch")
    without = {name: {**tree} for name, tree in variables.items()}
    for tree in without.values():
        del tree["layer2_1"]
    expected = evaluate(short)(without, images)["block2"]
    np.testing.assert_allclose(evaluate(model)(variables, images)["block2"], expected, atol=1e-6)
    for name in ("layer1_0", "layer2_0", "layer2_1"):
        assert not np.any(variables["params"][name]["bn3"]["scale"])
        assert np.any(gradients[name]["bn3"]["scale"])


def changed(change: str) -> dict[str, np.ndarray]:
    arrays = tiny_arrays()
    if change == "absent":
        del arrays["layer2.0.bn3.running_mean"]
    if change == "shape":
        arrays["layer1.0.conv2.weight"] = np.zeros((2, 1, 3, 3), np.float32)
    if change == "deeper":
        arrays["layer2.1.conv1.weight"] = np.zeros((4, 16, 1, 1), np.float32)
    return arrays


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("absent", r"layer2\.0\.bn3\.running_mean is absent, not \[16\]"),
        ("shape", r"layer1\.0\.conv2\.weight is \[2, 1, 3, 3\], not \[2, 2, 3, 3\]"),
        ("deeper", r"layer2\.1\.conv1\.weight, \[4, 16, 1, 1\], has no place there"),
    ],
)
def test_another_architecture_is_refused_by_the_first_name_and_shape_that_differ(change, text):
    with pytest.raises(UserError, match=f"^mine holds no ResNet-50.*{text}"):
        from_torchvision(changed(change), shapes_of(tiny()), "mine")


def test_a_classifier_and_counters_of_batches_are_left_out():
    others = {
        "fc.weight": np.zeros((10, 16), np.float32),
        "fc.0.bias": np.zeros(16, np.float32),
        "bn1.num_batches_tracked": np.zeros((), np.int64),
    }
    variables = from_torchvision(tiny_arrays() | others, shapes_of(tiny()), "file")
    jax.tree.map(
        np.testing.assert_array_equal,
        variables,
        from_torchvision(tiny_arrays(), shapes_of(tiny()), "file"),
    )
