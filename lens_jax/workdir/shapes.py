"""Types and shapes of arrays, by their names."""

from typing import Any

import jax


def describe_arrays(tree: Any) -> dict[str, str]:
    """Type and shape of each array by its path, such as "params/head/bias": "float32[4]".

    The leaves are arrays, or what stands for them: anything with a type and a shape.
    """

    def is_array(node: Any) -> bool:
        return hasattr(node, "dtype")

    arrays = {}
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_array)
    for path, array in leaves:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        shape = list(array.shape)
        arrays[name] = f"{array.dtype}{shape}"
    return arrays
