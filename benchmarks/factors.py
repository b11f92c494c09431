"""Measures how far a checkpoint's features move when one factor of a letter changes.

    python -m benchmarks.factors --checkpoint=runs/videos
    python -m benchmarks.factors --checkpoint=runs/videos --network=target --json=factors.json

Letters are rendered as those of glyph_videos, each with a font and colors of its own, and one
factor after the other goes through its range: viewpoint, light, occlusion. For each it prints the
mean cosine distance between features of one letter, that of as many images put together at random,
and the ratio of the two: 0 is invariant. The features are those of the extractor's last tap.

They stand beside those of a network as it was initialized: train it for "0 steps".
"""

import jax
import numpy as np
from absl import flags

from benchmarks.command import check_json, write_json
from lens_jax import cli
from lens_jax.data.builders import glyph_videos
from lens_jax.devices.compiler import compiler_options
from lens_jax.eval import frozen as frozen_networks
from lens_jax.eval.factors import Spread, measure_spread
from lens_jax.eval.features import make_features
from lens_jax.eval.passes import linear_size

CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Work directory of the training run.")
NETWORK = flags.DEFINE_enum(
    "network", "online", frozen_networks.NETWORKS, "The trained network or its average."
)
LETTERS = flags.DEFINE_integer("letters", 100, "Number of letters.", 2)
IMAGES = flags.DEFINE_integer("images", 12, "Number of images of each.", 2)
JSON = flags.DEFINE_string("json", None, "File to write the numbers to.")


def measure(frozen: frozen_networks.Frozen, letters: int, images: int) -> dict[str, Spread]:
    """How far apart the features of each of `letters` letters lie, by factor.

    Args:
      frozen: the network.
      letters: number of letters.
      images: number of images of each letter along each factor.

    """
    tap = frozen.system.network.extractor.tap_names[-1]
    features = make_features(frozen, "raw", (tap,))
    compute = jax.jit(features, compiler_options=compiler_options())
    size = linear_size(frozen.config.data)

    spreads = {}
    sets = np.repeat(np.arange(letters), images)
    for factor in glyph_videos.SWEPT:
        rows = []
        for index in range(letters):
            swept = glyph_videos.sweep(factor, index, images, size)
            rows.append(np.asarray(compute(frozen.state, swept)[tap]))
        spreads[factor] = measure_spread(np.concatenate(rows), sets)
    return spreads


def main() -> None:
    """Prints the numbers of a checkpoint."""
    check_json(JSON.value)
    loaded = frozen_networks.load(CHECKPOINT.value)
    frozen = frozen_networks.choose_network(loaded, NETWORK.value)
    spreads = measure(frozen, LETTERS.value, IMAGES.value)

    print(f"step {frozen.step}, {NETWORK.value} network: {LETTERS.value} letters")
    numbers = {}
    for factor, spread in spreads.items():
        print(
            f"  {factor:<10} {spread.within:.4f} within a letter, {spread.shuffled:.4f} shuffled, "
            f"ratio {spread.ratio:.3f}"
        )
        numbers[factor] = spread._asdict() | {"ratio": spread.ratio}
    if JSON.value:
        write_json(JSON.value, {"step": frozen.step, "network": NETWORK.value, "factors": numbers})


if __name__ == "__main__":
    flags.mark_flag_as_required("checkpoint")
    cli.run(main)
