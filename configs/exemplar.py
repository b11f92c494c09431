"""Exemplar (Dosovitskiy et al., 2014) with a lens on the crops.

    python -m lens_jax.main --config=configs/exemplar.py --workdir=gs://...
    --config.data.dir=gs://... python -m lens_jax.main --config=configs/exemplar.py:youtube8m
    --workdir=gs://... --config.data.dir=gs://... python -m lens_jax.main
    --config=configs/exemplar.py:glyphs --workdir=runs/exemplar

- imagenet2012 (default), youtube8m, places205: eight crops of 224 px from each of 512 images a
  step, the triplet loss over all 4,096 of them, in the schedule of `lens_jax.recipes.train_long`.
  The paper used 128 TPU v3 cores. Not run here: no score. The crops are cut on the device, from
  images resized to 256 px (our choice: the published code cuts them from the originals).
- glyphs, digits, fashion_mnist, photo_crops: four crops of each of 64 images, minutes on a laptop;
  letters are not mirrored.
- cifar10, imagenet100, image_folder: 64 images a step, 8 epochs, on one GPU.

The task has no classes, so the lens's objective is `full`.
"""

from ml_collections import ConfigDict

from lens_jax.defaults import SLIM_JITTER
from lens_jax.recipes import LAPTOP, LARGE, LETTERS, base_config, train_long


def get_config(variant: str = "imagenet2012") -> ConfigDict:
    """The config for one of `lens_jax.defaults.DATASETS`, locked."""
    config = base_config(variant)
    config.task = ConfigDict(
        {"name": "exemplar", "copies": 8, "size": 0, "embedding": 1000, "margin": 0.5}
    )
    config.augment.update({"flip": 0.5, "gray": 0.66, "gray_kind": "mean", **SLIM_JITTER})
    config.model.standardize = True
    config.lens.objective = "full"
    config.data.batch_size = 64
    if config.data.image_size == 224:
        config.task.size, config.data.image_size, config.data.linear_size = 224, 256, 224
        config.data.crop, config.data.eval_crop, config.data.linear_crop = "none", "none", "central"
    if variant in LARGE:
        train_long(config, batch_size=512)
    if variant in LAPTOP:
        _laptop(config)
    if variant in LETTERS:
        config.augment.flip = 0.0
    return config.lock()


def _laptop(config: ConfigDict) -> None:
    """Half the crops, small networks, and lensed crops only."""
    config.task.copies = 4
    config.task.embedding = 128
    config.model.width = 32
    config.train.duration = "40e3 examples"
    config.lens.widths = (32, 64)
    config.lens.raw_fraction = 0.0
    config.lens.learning_rate = 2e-3
