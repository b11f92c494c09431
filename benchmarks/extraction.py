"""Measures how fast features are extracted, beside the network's own forward pass.

    python -m benchmarks.extraction --checkpoint=runs/mine
    python -m benchmarks.extraction --checkpoint=runs/mine --dataset=photo_crops --rounds=9

An extraction reads and decodes the test images, puts them on the devices, and fetches the features
of the last tap into a file. The forward pass computes the same features of as many images that are
on the devices already. Both are timed in turn, and the ratio of the two is that of each round.
"""

import pathlib
import statistics
import tempfile
from collections.abc import Iterator

import jax
import numpy as np
from absl import flags

from benchmarks import machine, timing
from benchmarks.command import check_json, write_json
from lens_jax import cli
from lens_jax.data.records import Source
from lens_jax.devices import cache, mesh
from lens_jax.devices.compiler import compiler_options
from lens_jax.eval import store
from lens_jax.eval.features import make_features
from lens_jax.eval.frozen import Frozen, load
from lens_jax.eval.options import Options, open_sources
from lens_jax.eval.passes import BATCH_SIZE, linear_size, replicate, round_up_to_devices


def extractions(frozen: Frozen, source: Source, folder: pathlib.Path) -> Iterator[None]:
    """Extracts the features of a source into a new store, again and again."""
    tap = frozen.system.network.extractor.tap_names[-1]
    number = 0
    while True:
        # Nothing is there yet, so that it is computed.
        store.read_rows(str(folder / str(number)), frozen, source, "raw", (tap,))
        number += 1
        yield


def forward_passes(frozen: Frozen, images: int) -> Iterator[None]:
    """Computes the features of as many images, in batches of one that is on the devices."""
    tap = frozen.system.network.extractor.tap_names[-1]
    features = make_features(frozen, "raw", (tap,))
    compute = jax.jit(features, compiler_options=compiler_options())
    size = round_up_to_devices(BATCH_SIZE)
    side = linear_size(frozen.config.data)
    pixels = np.random.default_rng(0).integers(0, 256, (size, side, side, 3), np.uint8)
    batch = mesh.put_batch(mesh.make_mesh(), {"image": pixels})["image"]
    state = replicate(frozen.state)
    while True:
        for _ in range(-(-images // size)):
            result = compute(state, batch)
        jax.block_until_ready(result)
        yield


def define_flags() -> None:
    """Defines the command line, only when this file is run: others have flags of the same names."""
    flags.DEFINE_string("checkpoint", None, "Work directory of a run.", required=True)
    flags.DEFINE_string("dataset", "", "Data set to read; the run's own by default.")
    flags.DEFINE_string("split", "", "Split to read; the one to evaluate on by default.")
    flags.DEFINE_integer("rounds", 5, "Times that each is timed.", 1)
    flags.DEFINE_string("json", None, "File to write the numbers to.")


def main() -> None:
    """Times both, and prints images a second and their ratio."""
    options = flags.FLAGS
    check_json(options.json)
    frozen = load(options.checkpoint)
    read = Options(dataset=options.dataset, test_split=options.split)
    _, test = open_sources(frozen.config, read)
    with tempfile.TemporaryDirectory() as folder:
        # As the evaluation job does: the program is compiled before the rounds that count.
        cache.use_cache(folder)
        runs = {
            "extraction": extractions(frozen, test, pathlib.Path(folder)),
            "forward pass": forward_passes(frozen, len(test)),
        }
        seconds = timing.interleave(runs, options.rounds)

    print(f"{machine.describe_machine()}: {len(test):,} images of {test.dataset}")
    for name, times in seconds.items():
        speed = timing.speed(len(test), times)
        print(
            f"  {name:<13} {speed.median:9,.0f} images/s ({speed.least:,.0f} to {speed.most:,.0f})"
        )
    pairs = zip(seconds["forward pass"], seconds["extraction"], strict=True)
    ratio = statistics.median(forward / whole for forward, whole in pairs)
    print(f"  the extraction has {ratio:.2f} of the forward pass's speed")
    if options.json:
        write_json(options.json, machine.facts() | {"seconds": seconds, "ratio": ratio})


if __name__ == "__main__":
    define_flags()
    cli.run(main)
