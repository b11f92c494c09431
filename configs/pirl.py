"""PIRL (Misra & van der Maaten, 2019): an image and its jigsaw puzzle are alike.

    python -m lens_jax.main --config=configs/pirl.py:glyphs --workdir=runs/pirl
    python -m lens_jax.main --config=configs/pirl.py --workdir=gs://BUCKET/RUN

- glyphs, digits, fashion_mnist, photo_crops: minutes on a laptop, see
  `lens_jax.recipes.on_a_laptop`, with the InfoNCE form and heads with a hidden layer and BatchNorm.
  On glyphs after 8 epochs a linear classifier on the features is right for 23 % of the letters
  (`linear_eval --examples=5000`, seed 0), on those of a random network for 14 %. With the NCE form
  and no BatchNorm in the heads, after 6 epochs of batch 256, it is right for 11 %.
- imagenet2012 (default), youtube8m, places205: views, linear heads, loss and schedule of the
  authors' code, VISSL's `pirl_jigsaw_4node_resnet50`: 200 epochs of batch 1024, SGD 0.03 for 256
  images, a cosine without warm-up. Their linear top-1 is 62.9. Not run here: no score.
- cifar10, image_folder: the same views, 8 epochs, 4,096 negatives, on one GPU.

There is no lens unless asked for, with --config.lens.kind=network; its objective is `full`.
"""

from ml_collections import ConfigDict

from lens_jax.recipes import LAPTOP, LARGE, base_config, on_a_laptop, two_views


def get_config(variant: str = "imagenet2012") -> ConfigDict:
    """The config for one of `lens_jax.defaults.DATASETS`, locked."""
    config = base_config(variant)
    config.task = ConfigDict(
        {
            "name": "pirl",
            "size": 0,
            "cell": 85,
            "patch": 64,
            "patch_area": (0.6, 1.0),
            "hidden": 0,
            "norm": False,
            "embedding": 128,
            "temperature": 0.07,
            "negatives": 32000 if variant in LARGE else 4096,
            "momentum": 0.5,
            "form": "nce",
        }
    )
    two_views(config)
    config.augment.update(
        {
            "area": (0.08, 1.0),
            "flip": 0.5,
            "jitter": 1.0,
            "jitter_kind": "torchvision",
            "brightness": 0.4,
            "contrast": 0.4,
            "saturation": 0.4,
            "hue": 0.2,
            "gray": 0.2,
            # Patches are cut by the task.
            "later": {"area": (1.0, 1.0)},
        }
    )
    config.optimizer.learning_rate = 0.03
    if variant in LARGE:
        config.dtype = "bfloat16"
        config.data.batch_size = 1024
        config.train.duration = "200 epochs"
    if config.data.image_size == 64:
        config.task.update({"cell": 21, "patch": 16})
    if config.data.image_size == 32:
        config.task.update({"cell": 10, "patch": 8})
    if variant in LAPTOP:
        on_a_laptop(config, variant)
        # Many small steps, as a row of the memory is as old as an epoch.
        config.data.batch_size = 64
        config.task.update(
            {"norm": True, "form": "info_nce", "temperature": 0.2, "negatives": 1024}
        )
    return config.lock()
