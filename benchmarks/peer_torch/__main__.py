"""Measures the step of `benchmarks.step` beside the same nets and the same update in PyTorch.

    pip install torch
    python -m benchmarks.peer_torch
    python -m benchmarks.peer_torch --config=configs/rotation.py --compile
    python -m benchmarks.peer_torch --config=configs/simclr.py:glyphs

Both train in one process on one device, in turn, on the same batch and in the same precision:
without a lens, and with one that every image is seen through beside the image as it is. Random
augmentations are left out of both (`benchmarks.augment` compares those), so that what is compared
is rotation or SimCLR's two views, lens, extractor, head, losses and the two updates.

The update in PyTorch is the usual alternating one. The extractor takes a step on [lensed; raw],
where no gradient is kept for the lens; then the lens takes a step on a second pass, of the lensed
images alone, for which the extractor's parameters need no gradients. The JAX step makes one pass
over [lensed; raw] for both. In the extractor the two are the same work, where n is that of a pass
of the batch forward, as well as of its gradient to parameters, and of that to activations:

    JAX      [lensed; raw] forward 2n, to both 4n, to activations 2n
    PyTorch  [lensed; raw] forward 2n, to both 4n; lensed forward n, to activations n

The nets have the same layers and parameters. Where a 3x3 convolution of stride 2 meets an even
side, PyTorch pads all sides alike, and "SAME" only those to the right and below: a shift of one
pixel, which costs no operation. On odd sides the nets are equal.

Bfloat16 is `torch.autocast`, with head, losses and the lens's last layer in float32 as in JAX.
Float32 products may use TF32 on GPUs that have it, as JAX's do by default. On a GPU both sides hold
memory at once; JAX takes XLA_PYTHON_CLIENT_MEM_FRACTION of it, 0.45 by default.
"""

import importlib.util
import os

from absl import flags
from ml_collections import config_flags

from benchmarks import command
from lens_jax.errors import UserError

CONFIG = config_flags.DEFINE_config_file(
    "config", None, f"A config of rotation or simclr; {command.DEFAULT_CONFIG} by default."
)
STEPS = flags.DEFINE_integer("steps", 10, "Rounds, in each of which every step is timed.", 1)
COMPILE = flags.DEFINE_bool("compile", False, "Compile the nets with torch.compile.")
CHANNELS_LAST = flags.DEFINE_bool(
    "channels_last",
    True,
    "Keep the channels of a pixel side by side in PyTorch; the faster layout, on CPUs too.",
)
JSON = flags.DEFINE_string("json", None, "File to write the results to.")


def main() -> None:
    """Measures both sides on the config and prints the results."""
    command.check_overrides(config_flags.get_override_values(flags.FLAGS["config"]))
    command.check_json(JSON.value)
    if importlib.util.find_spec("torch") is None:
        raise UserError(
            "the peer is written in PyTorch, which is not installed: run `pip install torch`"
        )
    # Read by JAX when it is imported, which is only now.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.45")
    from benchmarks.peer_torch import compare

    setting = compare.Setting(STEPS.value, COMPILE.value, CHANNELS_LAST.value)
    speeds = compare.measure(CONFIG.value, setting)
    print(compare.describe_run(CONFIG.value, setting))
    print(compare.describe(speeds))
    if JSON.value:
        command.write_json(JSON.value, compare.plain(CONFIG.value, setting, speeds))


if __name__ == "__main__":
    command.run(main)
