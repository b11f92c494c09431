"""Supervised training, the reference line for every pretext task; without a lens unless asked for.

    python -m lens_jax.main --config=configs/supervised.py:cifar10 --config.data.dir=...
    --workdir=...

- imagenet2012 (default): ResNet-50 v2, 90 epochs, SGD 0.1 x batch / 256, 5 epochs of warm-up,
  cosine (the common recipe, 76 % top-1 in the literature; not run here). One TPU v3-32.
- glyphs, digits, fashion_mnist, photo_crops, cifar10, imagenet100, image_folder: 8 epochs on the
  networks of their rotation configs.
"""

from ml_collections import ConfigDict

from lens_jax.recipes import base_config


def get_config(variant: str = "imagenet2012") -> ConfigDict:
    """The config for one of `lens_jax.defaults.DATASETS`, locked."""
    config = base_config(variant)
    config.task = ConfigDict({"name": "supervised"})
    config.lens.kind = "none"
    if variant == "imagenet2012":
        config.dtype = "bfloat16"
        config.data.batch_size = 1024
        config.train.duration = "90 epochs"
        config.optimizer.warmup = "5 epochs"
    return config.lock()
