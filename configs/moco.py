"""MoCo v2 (Chen et al., 2020): find the key of one's image among a queue of others.

    python -m lens_jax.main --config=configs/moco.py:glyphs --workdir=runs/moco
    python -m lens_jax.main --config=configs/moco.py --workdir=gs://BUCKET/RUN

- glyphs, glyph_scenes, glyph_videos, digits, fashion_mnist, photo_crops, textured_glyphs: minutes
  on a laptop, see `lens_jax.recipes.on_a_laptop`, with a queue of 1,024. --config.data.boxes=each
  trains on the letters of the scenes, --config.data.pairs=frames on two frames of a video, see
  docs/data.md.
- imagenet2012 (default), youtube8m, places205: main_moco.py of github.com/facebookresearch/moco
  with the README's options for v2 (arXiv 2003.04297): 200 epochs of batch 256, SGD 0.03, decay
  1e-4, a cosine without warm-up, 65,536 keys, momentum 0.999, temperature 0.2, 2048-128. 67.5 %
  top-1 (+- 0.1) by a linear classifier on ImageNet; 53 hours on 8 V100 GPUs, says the README.
- imagenet100: ResNet-50, batch 128, SGD 0.03 (0.06 for 256), 16,384 keys, 200 epochs, of the MoCo
  v2 line of github.com/songweige/Contrastive-Learning-with-Non-Semantic-Negatives (arXiv
  2110.14189): 77.9 +- 0.3 %. Twelve hours on an A100, we estimate.
- cifar10: the authors' notebook (colab/moco_cifar10_demo.ipynb, branch colab-notebook): ResNet-18,
  batch 512, SGD 0.06 (0.03 for 256), decay 5e-4, 4,096 keys, momentum 0.99, temperature 0.1, no
  blur, 800 epochs: 88.7 % by 200 nearest neighbors. Theirs has a linear head, ours one hidden
  layer. Two hours on an A100, we estimate.
- image_folder: the views of ImageNet, 8 epochs by SGD, 4,096 keys, on one GPU.

None of the published ones was run here. In place of shuffled keys on 8 GPUs, BatchNorm has groups
of as many images as theirs had a GPU, and those of the keys hold other images than those of the
queries, see `model.batch_norm_group`; on ImageNet-100 the number of GPUs is our guess. The
published networks normalize after each convolution, ours before.

With --config.task.symmetric=True each view is both query and key, for twice the time of a step.

With --config.task.non_semantic=patch, quilting or texture, each query is repelled from a negative
of its own, --config.task.alpha=2.0, see `lens_jax.tasks.non_semantic`. The recipe of its paper
(arXiv 2110.14189) is the variant imagenet100 with it. For a linear classifier the authors' README
reports, on ImageNet-100 and the images of its classes in ImageNet-C, -Sketch, Stylized and -R (mean
of 3 runs),

    16,384 keys           IN-100       C     Sketch   Stylized      R
    none                 77.9+-0.3   43.1   28.2+-0.6   16.2   32.9+-0.1
    texture, alpha 2     77.8+-0.2   43.6   29.1+-0.4   16.6   33.4+-0.2
    patch, alpha 2       79.4+-0.1   45.1   31.8+-0.9   17.4   34.8+-0.2
    patch, alpha 3       75.6+-0.5   44.5   34.0+-0.6   18.6   36.9+-0.1

and 79.5 with 8,192 keys; its later setting, --config.data.batch_size=512
--config.optimizer.learning_rate=0.4 --config.task.momentum=0.99, has 80.0 without and 81.5 with
patches. Textures are made beforehand by

    python -m lens_jax.prepare --dataset=textures --source=imagenet100

and named by --config.data.textures=FOLDER.

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
            "non_semantic": "none",
            "alpha": 2.0,
            "patch_sides": (16 / 224, 72 / 224),
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
        _imagenet(config)
    if variant == "imagenet100":
        _imagenet100(config)
    if variant == "cifar10":
        _cifar10(config)
    if variant in LAPTOP:
        on_a_laptop(config, variant)
        # alpha / temperature is that of the published 2.0 / 0.2: twice as much ends in a collapse.
        config.task.update({"queue": 1024, "temperature": 0.1, "alpha": 1.0})
        config.optimizer.learning_rate = 0.6
    return config.lock()


def _imagenet(config: ConfigDict) -> None:
    config.dtype = "bfloat16"
    config.data.batch_size = 256
    config.train.duration = "200 epochs"
    _group(config, 32)


def _imagenet100(config: ConfigDict) -> None:
    config.dtype = "bfloat16"
    config.data.batch_size = 128
    config.train.duration = "200 epochs"
    config.optimizer.learning_rate = 0.06
    config.task.update({"queue": 16384, "momentum": 0.999})
    _group(config, 32)


def _cifar10(config: ConfigDict) -> None:
    config.data.batch_size = 512
    config.train.duration = "800 epochs"
    config.augment.area = (0.08, 1.0)
    config.task.update({"hidden": 512, "temperature": 0.1})
    config.optimizer.weight_decay = 5e-4
    config.optimizer.head_weight_decay = 5e-4
    _group(config, 64)


def _group(config: ConfigDict, size: int) -> None:
    """Batch statistics of groups, which a lens would have to itself."""
    config.model.batch_norm_group = size
    config.lens.batch_norm = "split"
