r"""Measures a training step with and without the lens: images/s, FLOPs, memory.

    python -m benchmarks.step
    python -m benchmarks.step --config=configs/jigsaw.py:glyphs --steps=20 --json=step.json
    python -m benchmarks.step --config=configs/rotation.py --config.data.batch_size=8 \
      --config.data.image_size=64 --config.model.width=32 --steps=5

Three steps of any config are timed in turn, on a batch of random pixels that already lies on the
devices: the baseline (no lens), the lens step (every image is seen through the lens and as it is)
and the cheap lens step (every image is seen once, half of them through the lens). What they reach
is compared with what large products of matrices reach in between, on the same devices in the same
precision.

FLOPs are those of the traced program (`jax.stages.Lowered.cost_analysis`): every multiplication and
every addition for a whole batch, over all devices. The compiled program would be the wrong one to
count. On a GPU its convolutions and products are calls of libraries, which count as 0; on several
devices it is one device's part. On one CPU the two agree within 3 %, which is what fusions compute
twice. Where `lens.update_every` is above 1, the FLOPs are those of a step that does update the
lens, and the time is the mean over as many steps. `remat` adds what is computed twice;
`train.accumulate` changes the time alone.

It needs jax, flax, optax, absl, ml_collections and numpy, and no data.
"""

from absl import flags
from ml_collections import config_flags

from benchmarks import command

CONFIG = config_flags.DEFINE_config_file(
    "config", None, f"A config, as for lens_jax.main; {command.DEFAULT_CONFIG} by default."
)
STEPS = flags.DEFINE_integer("steps", 10, "Rounds, in each of which every step is timed.", 1)
JSON = flags.DEFINE_string("json", None, "File to write the results to.")
PROFILE = flags.DEFINE_string("profile", None, "Folder to write a trace of the lens step to.")


def main() -> None:
    """Measures the three steps of the config and prints the results."""
    command.check_overrides(config_flags.get_override_values(flags.FLAGS["config"]))
    command.check_json(JSON.value)
    # Imported only now, so that --help and mistyped flags answer at once.
    from benchmarks.step import measure, table

    measured = measure.measure(CONFIG.value, STEPS.value, PROFILE.value)
    print(table.describe(CONFIG.value, measured))
    if PROFILE.value:
        print(f"a trace of {measure.PROFILED} steps with the lens is in {PROFILE.value}")
    if JSON.value:
        command.write_json(JSON.value, table.plain(CONFIG.value, measured))


if __name__ == "__main__":
    command.run(main)
