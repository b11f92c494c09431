"""MoCo v2 (Chen et al., 2020): find the key of one's image among a queue of others.

    python -m lens_jax.main --config=configs/moco.py:glyphs --workdir=runs/moco
    python -m lens_jax.main --config=configs/moco.py --workdir=gs://BUCKET/RUN

- glyphs, digits, fashion_mnist, photo_crops: minutes on a laptop, see
  `lens_jax.recipes.on_a_laptop`, with a queue of 1,024.
- imagenet2012 (default), youtube8m, places205: settings of the authors' code (arXiv 2003.04297),
  200 epochs of batch 256, SGD 0.03, a cosine without warm-up, 65,536 keys. Batch statistics are
  global, where theirs are of a GPU each and shuffled. Not run here: no score.
- cifar10, image_folder: the same views, without blur on 32 px, 8 epochs, 4,096 keys, on one GPU.

With --config.task.symmetric=True each view is both query and key, for twice the time of a step.

There is no lens unless asked for, with --config.lens.kind=network; its objective is `full`.
"""

from ml_collections import ConfigDict

from lens_jax.recipes import LAPTOP, LARGE, base_config, on_a_laptop, two_views


def get_config(variant: str = "imagenet2012") -> ConfigDict:
    """The config for one of `lens_jax.defaults.DATASETS`, locked."""
    config = base_config(variant)
    config.task = ConfigDict(
        {
            "name": "moco",
            "size": 0,
            "hidden": 2048,
            "embedding": 128,
            "temperature": 0.2,
            "queue": 65536 if variant in LARGE else 4096,
            "momentum": 0.999 if variant in LARGE else 0.99,
            "symmetric": False,
        }
    )
    two_views(config)
    config.augment.update(
        {
            "area": (0.2, 1.0),
            "flip": 0.5,
            "jitter": 0.8,
            "jitter_kind": "torchvision",
            "brightness": 0.4,
            "contrast": 0.4,
            "saturation": 0.4,
            "hue": 0.1,
            "gray": 0.2,
            "blur": 0.5 if config.data.image_size > 32 else 0.0,
        }
    )
    config.optimizer.learning_rate = 0.03
    if variant in LARGE:
        config.dtype = "bfloat16"
        config.data.batch_size = 256
        config.train.duration = "200 epochs"
    if variant in LAPTOP:
        on_a_laptop(config, variant)
        config.task.queue = 1024
    return config.lock()
