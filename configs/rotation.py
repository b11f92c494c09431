"""Rotation with a lens (Minderer et al., 2020).

    python -m lens_jax.main --config=configs/rotation.py --workdir=gs://... --config.data.dir=gs://...
    python -m lens_jax.main --config=configs/rotation.py:glyphs --config.shortcut=arrow --workdir=runs/glyphs

- imagenet2012 (default): the schedule of revisiting-self-supervised, whose settings the paper says it
  follows: all four rotations of each image, 35 epochs, SGD 0.1 x batch / 256 with 5 epochs of
  warm-up, times 0.1 at epochs 15 and 25. The paper used 128 TPU v3 cores. Not run here: no score.
  Our choices, as the paper's are not known: the lens's widths, Adam 1e-4, lambda 100, batch 1024.
- glyphs, digits: minutes on a laptop, see `_laptop`; glyphs is what the quickstart trains.
- cifar10, image_folder: all four rotations, 8 epochs, and the paper's least-likely objective.
"""

from ml_collections import ConfigDict

from lens_jax.config import base_config


def get_config(variant: str = "imagenet2012") -> ConfigDict:
    """The config for one of `lens_jax.config.DATASETS`, locked."""
    config = base_config(variant)
    config.task = ConfigDict({"name": "rotation", "all_rotations": True})
    if variant == "imagenet2012":
        _imagenet(config)
    if variant in ("glyphs", "digits"):
        _laptop(config)
    return config.lock()


def _imagenet(config: ConfigDict) -> None:
    config.dtype = "bfloat16"
    config.data.batch_size = 1024
    config.train.duration = "35 epochs"
    config.optimizer.warmup = "5 epochs"
    config.optimizer.schedule = "step"
    config.optimizer.decay_at = ("15 epochs", "25 epochs")


def _laptop(config: ConfigDict) -> None:
    """Chosen for minutes on a CPU: one rotation at random, and the objective that removes steadily.

    The extractor sees lensed images only, at half the cost of lensed and raw ones.
    """
    config.task.all_rotations = False
    config.train.duration = "12 epochs"
    config.lens.objective = "confusion"
    config.lens.raw_share = 0.0
    config.lens.learning_rate = 2e-3
