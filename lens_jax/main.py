"""Trains a feature extractor, with a lens or without, on a pretext task.

    python -m lens_jax.main --config=configs/rotation.py:glyphs --workdir=runs/mine

Every key of the config can be set as a flag, such as --config.lens.lambda_=300. Started again with
the same --workdir and config, training goes on from the newest checkpoint. On a pod or a cluster
the same command is started once for each process, see docs/launching.md.
"""

from absl import flags
from ml_collections import config_flags

from lens_jax import cli

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "A config, such as configs/rotation.py:glyphs."
)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder for checkpoints, metrics and config.")
INIT = flags.DEFINE_string(
    "init", "", "Work directory of another run, with whose networks a new run begins."
)
ALLOW_CHANGED_DATA = flags.DEFINE_bool(
    "allow_changed_data", False, "Go on although the data is not what the run began with."
)


def main() -> None:
    """Trains with the config and the work directory of the flags."""
    # Imported only now, so that --help and mistyped flags answer at once.
    from lens_jax.devices import distributed
    from lens_jax.train.loop import train

    distributed.start()
    train(
        CONFIG.value,
        WORKDIR.value,
        init=INIT.value,
        allow_changed_data=ALLOW_CHANGED_DATA.value,
    )


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    cli.run(main)
