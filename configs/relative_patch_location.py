"""Relative patch location (Doersch et al., 2015) with a lens on the patches.

    python -m lens_jax.main --config=configs/relative_patch_location.py --workdir=gs://BUCKET/RUN
    python -m lens_jax.main --config=configs/relative_patch_location.py:youtube8m
    --workdir=gs://BUCKET/RUN python -m lens_jax.main
    --config=configs/relative_patch_location.py:glyphs --workdir=runs/patches

- imagenet2012 (default), youtube8m, places205: nine patches of each of 128 images a step, the
  center paired with each of its eight neighbors, in the schedule of `train_long` on the images of
  `cut_patches` (both in lens_jax/recipes.py). The paper used 32 TPU v3 cores. Not run here: no
  score. Our choices: the lens's widths, Adam 1e-4, lambda 100.
- glyphs, photo_crops (64 px, patches of 16), digits, fashion_mnist (32 px, patches of 8): minutes
  on a laptop, see `_laptop`.
- cifar10 (patches of 8), imagenet100 and image_folder (patches of 64): batch 128 and 256, 8 epochs,
  on one GPU.

Data sets lie in --config.data.dir. --config.lens.acts_on=images puts the lens before the cutting
instead of on each patch.
"""

from ml_collections import ConfigDict

from lens_jax.recipes import LAPTOP, LARGE, base_config, cut_patches, train_long


def get_config(variant: str = "imagenet2012") -> ConfigDict:
    """The config for one of `lens_jax.defaults.DATASETS`, locked."""
    config = base_config(variant)
    config.task = ConfigDict(
        {
            "name": "relative_patch_location",
            **cut_patches(config),
            "jitter": True,
            "embedding": 1000,
            "hidden": 4096,
            "dropout": 0.5,
        }
    )
    if variant in LARGE:
        train_long(config, batch_size=128)
    if variant in LAPTOP:
        _laptop(config)
    return config.lock()


def _laptop(config: ConfigDict) -> None:
    """A head and a lens small enough for a CPU; the extractor sees lensed patches only."""
    config.task.embedding = 128
    config.task.hidden = 256
    config.model.width = 32
    config.train.duration = "40e3 examples"
    config.lens.widths = (32, 64)
    config.lens.objective = "confusion"
    config.lens.raw_fraction = 0.0
    config.lens.learning_rate = 2e-3
