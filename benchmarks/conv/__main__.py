"""Times convolutions and max pooling as our nets have them beside XLA's own.

    python -m benchmarks.conv
    python -m benchmarks.conv --images=64 --dtype=bfloat16

Each is timed forward and for each gradient. XLA's own are compiled with its defaults; ours with
`lens_jax.devices.compiler.compiler_options`, the root of ResNets folded, and maxima found by
selections. The shapes are those of ResNet-50 at 224 px and of the lens. It needs jax, flax, absl
and numpy alone.
"""

from absl import flags

from lens_jax import cli

IMAGES = flags.DEFINE_integer("images", 8, "Images at a time.", 1)
DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Of the computation.")
ROUNDS = flags.DEFINE_integer("rounds", 10, "Rounds, in each of which everything is timed.", 1)


def main() -> None:
    """Measures one layer after the other, and prints a line for each."""
    # Imported only now, so that --help and mistyped flags answer at once.
    from benchmarks.conv import layers, measure
    from benchmarks.machine import describe_machine

    machine = describe_machine()
    print(f"milliseconds for {IMAGES.value} images, {DTYPE.value}, XLA -> ours; {machine}")
    for name, layer in layers.LAYERS.items():
        arrays = layers.random_arrays(layer, IMAGES.value, DTYPE.value)
        found = measure.measure(layers.convolutions(layer), arrays, ROUNDS.value)
        print(measure.describe(name, found), flush=True)
    arrays = layers.random_maps(IMAGES.value, DTYPE.value)
    found = measure.measure(layers.poolings(), arrays, ROUNDS.value)
    print(measure.describe("max pooling of ResNets", found))


if __name__ == "__main__":
    cli.run(main)
