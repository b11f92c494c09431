"""What config files share: the defaults set up for data, schedules, patches, and two views."""

from ml_collections import ConfigDict

from lens_jax.defaults import DATASETS, DEFAULTS
from lens_jax.errors import check_choice

LARGE = ("imagenet2012", "youtube8m", "places205")
LETTERS = ("glyphs", "glyph_scenes", "glyph_videos", "digits")
LAPTOP = (*LETTERS, "fashion_mnist", "photo_crops", "textured_glyphs")


def base_config(dataset: str) -> ConfigDict:
    """Every key there is, set for training on `dataset`; not locked yet, for a config file to fill.

    Raises `UserError` for a data set that is not in `lens_jax.defaults.DATASETS`.
    """
    check_choice("config variant", dataset, DATASETS)
    config = ConfigDict(DEFAULTS)
    config.update(DATASETS[dataset])
    return config


def train_long(config: ConfigDict, batch_size: int) -> None:
    """The schedule of revisiting-self-supervised, whose settings the lens paper says it follows.

    35 epochs, learning rate 0.1 x batch / 256 with 5 epochs of warm-up, times 0.1 at epochs 15 and
    25.
    """
    config.dtype = "bfloat16"
    config.data.batch_size = batch_size
    config.train.duration = "35 epochs"
    config.optimizer.warmup = "5 epochs"
    config.optimizer.schedule = "step"
    config.optimizer.decay_at = ("15 epochs", "25 epochs")


def cut_patches(config: ConfigDict) -> dict[str, int]:
    """Sets data, network and augmentation up for tasks on nine patches.

    For photographs as in revisiting-self-supervised: resized to 292 px, gray with probability 0.66,
    cells of 85 px, patches of 64 px that are standardized each, a root and a last stage of stride
    1, head weight decay 5e-4; in linear evaluation the central 192 px of a shorter side of 224.
    Small images keep these proportions, and glyphs are rendered at 64 px for it. Squares of
    photographs have as many pixels.

    Returns:
      The task's options "cell" and "patch", in pixels.

    """
    config.augment.update({"gray": 0.66, "gray_kind": "mean", "flip": 0.0, "jitter": 0.0})
    config.model.last_stride = 1
    config.model.standardize = True
    config.optimizer.head_weight_decay = 5e-4
    config.data.crop = "none"
    config.data.eval_crop = "none"

    if config.data.image_size == 224:
        config.data.image_size = 292
        config.data.linear_size = 196  # 7/8 of 224, of which 192 are used
        config.data.linear_crop = "central"
        config.model.stem = "imagenet_dense"
        config.lens.widths = (32, 64, 128)
        config.lens.patch = 1  # 292 px can be halved only twice
        return {"cell": 85, "patch": 64}

    if config.data.name == "glyphs":
        config.data.name = "glyphs/64"
        config.data.image_size = 64
    if config.data.image_size == 64:
        config.data.linear_size = 48
        return {"cell": 21, "patch": 16}

    config.data.linear_size = 24
    return {"cell": 10, "patch": 8}


def two_views(config: ConfigDict) -> None:
    """Sets data and lens up for methods that compare two augmented views; no lens unless asked for.

    Photographs are read whole, at 256 px, and the views of 224 px are cut on the device. The
    objective `full` of the lens goes with each of them.
    """
    config.task.size = 0
    config.lens.kind = "none"
    config.lens.objective = "full"
    if config.data.image_size == 224:
        config.task.size = 224
        config.data.image_size = 256
        config.data.crop = "none"
        config.data.eval_crop = "none"
        config.data.linear_size = 224
        config.data.linear_crop = "central"


def asymmetric_views(config: ConfigDict) -> None:
    """The augmentations of BYOL (Grill et al., 2020, arXiv 2006.07733, appendix B, table 6).

    Barlow Twins (arXiv 2103.03230) has the same. Colors change half as much as for SimCLR. The
    first view is always blurred, the second one seldom, and it alone is solarized. Images of 32 px
    are not blurred.
    """
    blurs = config.data.image_size > 32
    config.augment.update(
        {
            "area": (0.08, 1.0),
            "flip": 0.5,
            "jitter": 0.8,
            "jitter_kind": "torchvision",
            "brightness": 0.4,
            "contrast": 0.4,
            "saturation": 0.2,
            "hue": 0.1,
            "gray": 0.2,
            "blur": 1.0 if blurs else 0.0,
            "later": {"blur": 0.1 if blurs else 0.0, "solarize": 0.2},
        }
    )


def use_lars(config: ConfigDict, learning_rate: float, weight_decay: float) -> None:
    """LARS as contrastive methods train large batches with it (SimCLR, BYOL and Barlow Twins).

    Ten epochs of warm-up, then a cosine to 0; momentum 0.9, trust coefficient 1e-3; biases and
    BatchNorm's parameters without either. The learning rate is for 256 images and the decay holds
    for the head too.
    """
    config.optimizer.name = "lars"
    config.optimizer.learning_rate = learning_rate
    config.optimizer.weight_decay = weight_decay
    config.optimizer.head_weight_decay = weight_decay
    config.optimizer.warmup = "10 epochs"


def on_a_laptop(config: ConfigDict, variant: str) -> None:
    """Minutes on a CPU for methods that compare two views, of the data sets in `LAPTOP`.

    Letters are not mirrored, as that makes other letters of them, and keep most of their area.
    Their two colors would tell an image from all others, and nothing else would be learned: all
    views are gray, what is bright is inverted in half of them, and each input has the same mean and
    standard deviation. Photographs keep the views of the method, and so do letters with textures,
    but that they too are not mirrored.
    """
    if variant in LETTERS:
        config.augment.update({"area": (0.3, 1.0), "flip": 0.0, "gray": 1.0, "blur": 0.0})
        config.augment.solarize = 0.5
        config.augment.later.solarize = 0.5
        config.model.standardize = True
        config.train.duration = "10 epochs"
    else:
        config.train.duration = "200e3 examples"
    if variant == "textured_glyphs":
        config.augment.update({"area": (0.3, 1.0), "flip": 0.0})
    config.task.hidden = 256
    config.task.embedding = 64
    config.model.width = 32
    # Small batches make more steps of an epoch.
    config.data.batch_size = 64
    config.optimizer.learning_rate = 0.3
    config.optimizer.warmup = "1 epochs"
    config.lens.widths = (32, 64)
    config.lens.raw_fraction = 0.0
    config.lens.learning_rate = 2e-3
