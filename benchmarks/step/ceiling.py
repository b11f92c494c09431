"""The fastest that the devices compute: large products of matrices."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from lens_jax.devices import mesh


def matmul_size() -> tuple[int, int]:
    """Side of the matrices and products in a chain: tenths of a second on a CPU, less on a GPU."""
    return (1024, 8) if jax.default_backend() == "cpu" else (8192, 16)


def count_flops(devices: Mesh, side: int, products: int) -> int:
    """The floating-point operations of a chain of products on each of the devices."""
    return 2 * products * side**3 * devices.size


def multiply(devices: Mesh, dtype: str, side: int, products: int) -> Iterator[None]:
    """At each `next`, computes a chain of products of `side` x `side` on each of the devices."""
    rows, factor = matrices(devices, dtype, side)
    chain = jax.jit(multiplied, static_argnums=2)
    while True:
        jax.block_until_ready(chain(rows, factor, products))
        yield


def matrices(devices: Mesh, dtype: str, side: int) -> tuple[jax.Array, jax.Array]:
    """Random rows, [devices * side, side], and a matrix [side, side] that keeps their size.

    Every device has rows of its own, so that none waits for another. The size is kept on average.
    """
    rng = np.random.default_rng(0)
    count = side * len(devices.local_devices)
    rows = rng.normal(size=(count, side)).astype(np.float32)
    batch = mesh.put_batch(devices, {"rows": rows})
    factor = jnp.asarray(rng.normal(scale=side**-0.5, size=(side, side)), dtype)
    return batch["rows"].astype(dtype), jax.device_put(factor, mesh.replicated(devices))


def multiplied(rows: jax.Array, factor: jax.Array, products: int) -> jax.Array:
    """`rows @ factor @ factor ...`, from left to right, `products` times."""
    for _ in range(products):
        rows = rows @ factor
    return rows
