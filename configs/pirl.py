"""PIRL (Misra & van der Maaten, 2019): an image and its jigsaw puzzle are alike.

    python -m lens_jax.main --config=configs/pirl.py:glyphs --workdir=runs/pirl
    python -m lens_jax.main --config=configs/pirl.py --workdir=gs://BUCKET/RUN

- glyphs, digits, fashion_mnist, photo_crops: minutes on a laptop, see
  `lens_jax.recipes.on_a_laptop`, with the InfoNCE form and heads with a hidden layer and BatchNorm,
  which learn in so short a training. The NCE form and linear heads did not.
- imagenet2012 (default), youtube8m, places205: views, linear heads, loss and schedule of the
  authors' code, `pirl_jigsaw_4node_resnet50` with `epochs_200` in github.com/facebookresearch/vissl
  (arXiv 1912.01991): 200 epochs of batch 1024, SGD 0.03 for 256 images, decay 1e-4, a cosine
  without warm-up, 32,000 negatives, temperature 0.07. 62.9 % top-1 by a linear classifier on
  ImageNet, says the README of its projects/PIRL; on 32 GPUs, says the config. Twenty hours on 8
  A100, we estimate.
- imagenet100, cifar10: an adaptation of ours. Nobody has published a score of PIRL trained on
  either that we know of; VISSL, solo-learn and lightly have none. Heads, views and loss are those
  of VISSL's improved PIRL (`resnet50_mlphead`, `photo_gblur`; on ImageNet 65.8 % after 200 epochs):
  a hidden layer, colors and blur as for SimCLR, InfoNCE, temperature 0.1; the blur is left out at
  32 px. Network, optimizer, batch, length and the number of negatives are those of
  configs/moco.py, whose queue is what comes closest to this memory: on ImageNet-100 a ResNet-50,
  batch 128, SGD 0.06 for 256 images, 16,384 negatives, 200 epochs; on CIFAR-10 a ResNet-18, batch
  512, SGD 0.03 for 256 images, decay 5e-4, 4,096 negatives, 800 epochs. BatchNorm in the heads is
  ours, see the small variants. Sixteen hours and two and a half on an A100, we estimate.
- image_folder: the views of ImageNet, 8 epochs, 4,096 negatives, on one GPU.

None of these was run here. The published networks normalize after each convolution, ours before.
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
            "negatives": 4096,
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
    if config.data.image_size == 64:
        config.task.update({"cell": 21, "patch": 16})
    if config.data.image_size == 32:
        config.task.update({"cell": 10, "patch": 8})
    if variant in LARGE:
        _imagenet(config)
    if variant == "imagenet100":
        _imagenet100(config)
    if variant == "cifar10":
        _cifar10(config)
    if variant in LAPTOP:
        on_a_laptop(config, variant)
        config.task.update(
            {"norm": True, "form": "info_nce", "temperature": 0.2, "negatives": 1024}
        )
    return config.lock()


def _imagenet(config: ConfigDict) -> None:
    config.dtype = "bfloat16"
    config.data.batch_size = 1024
    config.train.duration = "200 epochs"
    config.task.negatives = 32000


def _imagenet100(config: ConfigDict) -> None:
    config.dtype = "bfloat16"
    config.data.batch_size = 128
    config.train.duration = "200 epochs"
    config.optimizer.learning_rate = 0.06
    _improve(config, hidden=2048)
    config.augment.blur = 0.5
    config.task.negatives = 16384


def _cifar10(config: ConfigDict) -> None:
    config.dtype = "bfloat16"
    config.data.batch_size = 512
    config.train.duration = "800 epochs"
    config.optimizer.weight_decay = 5e-4
    config.optimizer.head_weight_decay = 5e-4
    _improve(config, hidden=512)


def _improve(config: ConfigDict, hidden: int) -> None:
    """What VISSL's improved PIRL takes from SimCLR."""
    config.task.update({"hidden": hidden, "norm": True, "form": "info_nce", "temperature": 0.1})
    config.augment.update(
        {"jitter": 0.8, "brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}
    )
