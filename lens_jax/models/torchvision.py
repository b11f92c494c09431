"""The weights of a `ResNetV1` under the names that torchvision gives them, and timm too.

`layer1_0/conv1/kernel`, [h, w, in, out], is `layer1.0.conv1.weight` there, [out, in, h, w]. The
names are those of torchvision's `models/resnet.py` and timm's `models/resnet.py`.
"""

from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from lens_jax.errors import UserError

_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
# What models have beside the extractor: a classifier, and counters that BatchNorm does not need.
CLASSIFIER = "fc."
_COUNTER = "num_batches_tracked"


def to_torchvision(variables: Any) -> dict[str, np.ndarray]:
    """The arrays of an extractor, "params" and "batch_stats", under torchvision's names."""
    arrays = {}
    for path, array in flatten_dict(variables).items():
        array = np.asarray(array)
        if array.ndim == 4:
            array = array.transpose(3, 2, 0, 1)
        arrays[_name(path)] = np.ascontiguousarray(array)
    return arrays


def from_torchvision(arrays: dict[str, np.ndarray], shapes: Any, source: str) -> Any:
    """The inverse of `to_torchvision`, in float32; a classifier is left out.

    Args:
      arrays: those of a model, by their names.
      shapes: the shapes of the extractor's "params" and "batch_stats".
      source: where the arrays are from, for messages.

    Raises:
      UserError: they are of another architecture: the first name and shape that differ.

    """
    variables = {}
    for path, leaf in flatten_dict(shapes).items():
        name = _name(path)
        expected = _shape_there(leaf)
        found = arrays.get(name)
        if found is None:
            raise _other_architecture(source, f"{name} is absent, not {expected}")
        if list(found.shape) != expected:
            raise _other_architecture(source, f"{name} is {list(found.shape)}, not {expected}")
        array = found.astype(np.float32)
        if array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)
        variables[path] = array

    # A deeper network has all of these names, and more.
    known = {_name(path) for path in variables}
    for name in sorted(arrays.keys() - known):
        if not name.startswith(CLASSIFIER) and not name.endswith(_COUNTER):
            shape = list(arrays[name].shape)
            raise _other_architecture(source, f"{name}, {shape}, has no place there")
    return unflatten_dict(variables)


def _name(path: tuple[str, ...]) -> str:
    _, *modules, leaf = path
    # Of a module's name, "layer1_0", the number is one of a sequence.
    module = ".".join(modules).replace("_", ".")
    return f"{module}.{_LEAVES[leaf]}"


def _shape_there(leaf: jax.ShapeDtypeStruct) -> list[int]:
    shape = list(leaf.shape)
    if len(shape) < 4:
        return shape
    height, width, before, after = shape
    return [after, before, height, width]


def _other_architecture(source: str, difference: str) -> UserError:
    return UserError(
        f"{source} holds no ResNet-50 as torchvision has it: {difference}; give the weights of "
        "resnet50 of torchvision or timm, or of MoCo v2"
    )
