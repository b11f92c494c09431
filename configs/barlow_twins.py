"""Barlow Twins (Zbontar et al., 2021): alike in each number, the numbers unlike each other.

    python -m lens_jax.main --config=configs/barlow_twins.py:glyphs --workdir=runs/barlow_twins
    python -m lens_jax.main --config=configs/barlow_twins.py --workdir=gs://BUCKET/RUN

- glyphs, digits, fashion_mnist, photo_crops: minutes on a laptop, see
  `lens_jax.recipes.on_a_laptop`. On glyphs after 6 epochs a linear classifier on the features is
  right for 33 % of the letters (`linear_eval --examples=5000`, seed 0), on those of a random
  network for 14 %.
- imagenet2012 (default), youtube8m, places205: main.py of github.com/facebookresearch/barlowtwins
  (commit 8e8d284; arXiv 2103.03230): batch 2048, LARS, 0.2 x batch / 256 for kernels and 0.0048 for
  biases and BatchNorm's parameters, decay 1e-6 (1.5e-6 in the paper), 10 epochs of warm-up, 1000
  epochs, 8192-8192-8192, lambda 0.0051. 73.5 % top-1 by a linear classifier on ImageNet, 73.2 % in
  the paper; 7 days on 16 V100 GPUs, says the README. Until commit 046eec3 the loss was multiplied
  by 0.024 and all rates were 0.2: the biases' rate of today, as LARS takes a factor of the loss
  away from kernels. So `task.scale` is 1 here.
- imagenet100: ResNet-18, batch 256 (2 x 128), 400 epochs, LARS 0.3 x batch / 256 with trust
  coefficient 0.02, decay 1e-4, 2048-2048-2048, the loss times 0.1, of
  scripts/pretrain/imagenet-100/barlow.yaml in github.com/vturrisi/solo-learn (commit 9187ea3),
  whose README has 80.4 % on it by a classifier trained beside, 80.2 % by one trained after, and 43
  minutes for 20 epochs on two RTX 2080 Ti: 14 hours for all.
- cifar10: the same for 1000 epochs and without blur, of scripts/pretrain/cifar/barlow.yaml: 92.1 %
  by a classifier trained beside. Three hours on an A100, we estimate.
- image_folder: the views of ImageNet, 8 epochs by SGD with the loss times 0.024, on one GPU.

None of the published ones was run here. A step of solo-learn's LARS is at most 0.02 of a kernel's
length, and at most the learning rate times its gradient; ours is always the rate times 0.02, 0.006
of the length at its peak. The published networks normalize after each convolution, ours before, and
on ImageNet our last convolutions start as zero where the authors' last scales do
(`model.zero_init_residual`). There is no lens unless asked for, with --config.lens.kind=network;
its objective is `full`.
"""

from ml_collections import ConfigDict

from lens_jax.recipes import (
    LAPTOP,
    LARGE,
    asymmetric_views,
    base_config,
    on_a_laptop,
    two_views,
    use_lars,
)


def get_config(variant: str = "imagenet2012") -> ConfigDict:
    """The config for one of `lens_jax.defaults.DATASETS`, locked."""
    config = base_config(variant)
    config.task = ConfigDict(
        {
            "name": "barlow_twins",
            "size": 0,
            "hidden": 8192,
            "embedding": 8192,
            "off_diagonal": 0.0051,
            "scale": 0.024,
        }
    )
    two_views(config)
    asymmetric_views(config)
    if variant in LARGE:
        _imagenet(config)
    if variant == "imagenet100":
        _small_set(config, "400 epochs")
    if variant == "cifar10":
        _small_set(config, "1000 epochs")
    if variant in LAPTOP:
        on_a_laptop(config, variant)
        # Many numbers to correlate.
        config.task.embedding = 256
        config.task.scale = 0.1
    return config.lock()


def _imagenet(config: ConfigDict) -> None:
    config.dtype = "bfloat16"
    config.data.batch_size = 2048
    config.train.duration = "1000 epochs"
    config.task.scale = 1.0
    config.model.zero_init_residual = True
    use_lars(config, learning_rate=0.2, weight_decay=1e-6)
    config.optimizer.bias_factor = 0.024  # 0.0048 for 256 images


def _small_set(config: ConfigDict, duration: str) -> None:
    config.dtype = "bfloat16"
    config.data.batch_size = 256
    config.train.duration = duration
    config.model.name = "resnet18"
    config.task.update({"hidden": 2048, "embedding": 2048, "scale": 0.1})
    use_lars(config, learning_rate=0.3, weight_decay=1e-4)
    config.optimizer.trust_coefficient = 0.02
