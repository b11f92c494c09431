"""Our ResNet-50 beside PyTorch's, where that is installed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.models.resnet import make_resnet
from lens_jax.models.torchvision import from_torchvision, to_torchvision
from lens_jax.ops import color

torch = pytest.importorskip("torch")
from tests.models import torch_resnet  # noqa: E402 - it needs PyTorch

MODEL = make_resnet("resnet50_v1", stem="imagenet")


@jax.jit
def features_of(variables: dict, images: jax.Array) -> jax.Array:
    return MODEL.apply(variables, color.to_unit(images), train=False)["pre_logits"]


def images() -> np.ndarray:
    """Noise, and a ramp, of sides that are odd at some strides."""
    noise = np.random.default_rng(0).integers(0, 256, (2, 90, 70, 3), np.uint8)
    noise[1] = np.indices((90, 70)).sum(axis=0)[..., None]
    return noise


def shapes() -> dict:
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    return jax.eval_shape(lambda x: MODEL.init(jax.random.key(0), x, train=False), image)


def assert_alike(found: np.ndarray, expected: np.ndarray) -> None:
    assert expected.std() > 0.01
    difference = abs(np.asarray(found) - expected).max() / abs(expected).max()
    assert difference < 1e-4


def test_weights_of_pytorch_give_its_features_here():
    theirs = torch_resnet.ResNet()
    arrays = torch_resnet.randomize(theirs, 0)
    variables = from_torchvision(arrays, shapes(), "PyTorch")
    assert_alike(features_of(variables, images()), torch_resnet.features_of(theirs, images()))


def test_our_weights_give_our_features_in_pytorch():
    rng = np.random.default_rng(1)

    def draw(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if len(leaf.shape) == 4:
            return rng.normal(scale=np.prod(leaf.shape[:3]) ** -0.5, size=leaf.shape)
        return rng.uniform(0.2, 1, leaf.shape)

    variables = jax.tree.map(lambda leaf: draw(leaf).astype(np.float32), shapes())
    theirs = torch_resnet.ResNet()
    torch_resnet.load_arrays(theirs, to_torchvision(variables))
    assert_alike(features_of(variables, images()), torch_resnet.features_of(theirs, images()))
