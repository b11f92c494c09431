"""Measures the augmentation of a config beside the same one of torchvision: images/s.

    pip install torch torchvision
    python -m benchmarks.augment
    python -m benchmarks.augment --config=configs/simclr.py --config.data.batch_size=32

Three ways to make one view of every image of a batch, timed in turn in one process on as many
threads: from uint8 pixels in memory to float32 views.

- "lens_jax": the jitted augmentation of the training step. Every image has draws of its own.
- "torchvision, one draw": `torchvision.transforms.v2` on the batch as one tensor. That draws once
  for all images: the same crop, the same colors, the same blur. No contrastive method can be
  trained so; it is what batched transforms cost there.
- "torchvision, each image": the same transforms on one image after the other, each with draws of
  its own, which is what a worker of a data loader does.

The settings are those of the first view; in the order of the config, that is crop, flip, color
jitter, gray, blur and solarization. Torchvision computes on uint8 pixels, as is usual and fast
there, and leaves out what an image does not get; ours computes in float32, and computes for a whole
batch what some images get. Decoding is in none of them. A data loader shares the third way among
processes, one a core: measure a core of each by `taskset --cpu-list 0` before the command. So one
should where other work runs, too: PyTorch's threads wait for one another, and for a core.
"""

import importlib.util

from absl import flags
from ml_collections import config_flags

from benchmarks import command
from lens_jax.errors import UserError

DEFAULT_CONFIG = "configs/simclr.py:photo_crops"
CONFIG = config_flags.DEFINE_config_file(
    "config", None, f"A config, as for lens_jax.main; {DEFAULT_CONFIG} by default."
)
ROUNDS = flags.DEFINE_integer("rounds", 10, "Rounds, in each of which every way is timed.", 1)
JSON = flags.DEFINE_string("json", None, "File to write the results to.")


def main() -> None:
    """Measures the three ways and prints the results."""
    command.check_json(JSON.value)
    for package in ("torch", "torchvision"):
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"{package} is what we are compared with, and is not installed: run "
                "`pip install torch torchvision`"
            )
    # Imported only now, so that --help and mistyped flags answer at once.
    from benchmarks.augment import measure

    speeds = measure.measure(CONFIG.value, ROUNDS.value)
    print(measure.describe_run(CONFIG.value))
    print(measure.describe(speeds))
    if JSON.value:
        command.write_json(JSON.value, measure.plain(CONFIG.value, speeds))


if __name__ == "__main__":
    command.run(main, DEFAULT_CONFIG)
