"""The options with which XLA compiles the networks."""

import jax


def compiler_options() -> dict[str, str]:
    """The `compiler_options` of `jax.jit` with which convolutions are fast.

    On a CPU, XLA has two libraries, and from jaxlib 0.10 on it gives most of the work to YNNPACK.
    That is good at sums, such as BatchNorm's, but takes up to five times as long as Eigen for the
    gradient of a kernel: here it gets the sums alone.
    """
    if jax.default_backend() != "cpu":
        return {}
    return {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"}
