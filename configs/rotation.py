"""Rotation with a lens (Minderer et al., 2020).

    python -m lens_jax.main --config=configs/rotation.py --workdir=gs://...
    --config.data.dir=gs://... python -m lens_jax.main --config=configs/rotation.py:youtube8m
    --workdir=gs://... --config.data.dir=gs://... python -m lens_jax.main
    --config=configs/rotation.py:glyphs --config.shortcut=arrow --workdir=runs/glyphs

- imagenet2012 (default), youtube8m, places205: all four rotations of each image, in the schedule of
  `lens_jax.recipes.train_long`. The paper used 128 TPU v3 cores. Not run here: no score. Our
  choices, as the paper's are not known: the lens's widths, Adam 1e-4, lambda 100, batch 1024.
- glyphs, digits, fashion_mnist, photo_crops: minutes on a laptop, see `_laptop`; glyphs is what the
  quickstart trains.
- cifar10, imagenet100, image_folder: all four rotations, 8 epochs, and the paper's least-likely
  objective; on one GPU. With --config.shortcut=arrow or chromatic, cifar10 is the paper's
  experiment with planted shortcuts.
"""

from ml_collections import ConfigDict

from lens_jax.recipes import LAPTOP, LARGE, LETTERS, base_config, train_long


def get_config(variant: str = "imagenet2012") -> ConfigDict:
    """The config for one of `lens_jax.defaults.DATASETS`, locked."""
    config = base_config(variant)
    config.task = ConfigDict({"name": "rotation", "all_rotations": True})
    if variant in LARGE:
        train_long(config, batch_size=1024)
    if variant in LAPTOP:
        _laptop(config)
    if variant in LETTERS:
        config.train.duration = "12 epochs"
    return config.lock()


def _laptop(config: ConfigDict) -> None:
    """Chosen for minutes on a CPU: one rotation at random, and the objective that removes steadily.

    The extractor sees lensed images only, at half the cost of lensed and raw ones.
    """
    config.task.all_rotations = False
    config.train.duration = "120e3 examples"
    config.lens.objective = "confusion"
    config.lens.raw_fraction = 0.0
    config.lens.learning_rate = 2e-3
