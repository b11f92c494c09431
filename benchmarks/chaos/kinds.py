"""The kinds of training that are killed, and the commands that start them."""

import sys
from pathlib import Path
from typing import NamedTuple

STEPS, SAVE_EVERY, BATCH_SIZE = 40, 3, 16
TINY = (
    f"--config.train.duration={STEPS} steps",
    f"--config.train.checkpoint_every={SAVE_EVERY} steps",
    "--config.train.log_every=1 steps",
    f"--config.data.batch_size={BATCH_SIZE}",
    "--config.model.width=8",
    "--config.lens.widths=(8, 8)",
)
STEERED = (
    "--config.lens.batch_norm=split",
    "--config.lens.raw_fraction=1.0",
    "--config.lens.budget=target",
    "--config.lens.update_every=3",
)
LENS = ("--config.lens.kind=network", "--config.task.hidden=16", "--config.task.embedding=8")


class Kind(NamedTuple):
    """A kind of training: its config file, its flags, and whether a bad record rolls it back."""

    config: str
    flags: tuple[str, ...] = ()
    poisoned: bool = False


KINDS = {
    "rotation": Kind("rotation"),
    "no lens": Kind("supervised"),
    "steered": Kind("rotation", STEERED),
    "exemplar": Kind("exemplar", ("--config.task.embedding=16",)),
    "jigsaw": Kind("jigsaw", ("--config.task.embedding=16", "--config.task.hidden=32")),
    "queue": Kind("moco", (*LENS, "--config.task.queue=32")),
    "memory bank": Kind("pirl", (*LENS, "--config.task.negatives=64")),
    "target network": Kind("byol", LENS),
    "cross-correlation": Kind("barlow_twins", LENS),
    "equivariance": Kind("equimod", (*LENS, "--config.task.base.hidden=16")),
    "rolled back": Kind("supervised", ("--config.train.rollbacks=1",), poisoned=True),
}


def make_command(root: Path, kind: str, workdir: Path, threads: int) -> list[str]:
    """The words that start a training of a kind, or resume it."""
    config, flags, poisoned = KINDS[kind]
    data = root / ("poisoned" if poisoned else "data")
    return [
        *(sys.executable, "-m", "lens_jax.main"),
        f"--config=configs/{config}.py:digits",
        f"--workdir={workdir}",
        f"--config.data.dir={data}",
        f"--config.data.threads={threads}",
        *TINY,
        *flags,
    ]
