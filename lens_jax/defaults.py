"""Every key that a config has, with its default, and what each data set changes: plain values.

Durations are strings such as "35 epochs", "500 steps", "1e6 examples" or "10 percent" (of the
training).
"""

from typing import Any

DATA = {
    "name": "",
    "dir": "",  # TFDS' directory ("" is its default), or the image folder
    "classes": "folder",  # of an image folder: the first folder below the split; or the whole path
    "train_split": "train",
    "eval_split": "test",  # "": the first of test, validation and val, or what is held out
    "boxes": "none",  # an example is an image; or each box in it, or the largest one of it
    "pairs": "none",  # of one video: two frames, the regions of one object in them, or both
    "pair_distance": 1,  # frames between the two of a pair
    "image_size": 32,
    "crop": "none",  # of training images: random, central or none
    "eval_crop": "none",
    "textures": "",  # folder of the textures of the training images, for task.non_semantic=texture
    "linear_size": 0,  # side of the images in linear evaluation; 0: image_size
    "linear_crop": "",  # crop of the images in linear evaluation; "": eval_crop
    "orient": "auto",  # turn images as EXIF says: always, never, or auto: those of image folders
    "depth": 16,  # bits that the values of 16-bit files really use
    "batch_size": 128,  # images a step, over all devices
    "threads": 8,
    "max_skipped": 0.01,  # fraction of images that may fail to decode before the run stops
}

# What is drawn for each view of an image, applied in this order.
AUGMENT = {
    "area": (1.0, 1.0),  # least and largest fraction of the image that a crop covers; 1: no crop
    "flip": 0.0,  # probability
    "jitter": 0.0,  # probability of changing the colors
    "jitter_kind": "torchvision",  # or slim: additive brightness, one order
    "brightness": 0.4,  # strengths s: factors between 1 - s and 1 + s
    "contrast": 0.4,
    "saturation": 0.4,
    "hue": 0.1,  # a shift between -s and s turns
    "gray": 0.0,  # probability
    "gray_kind": "luma",  # or mean, of the three colors
    "blur": 0.0,  # probability
    "sigma": (0.1, 2.0),  # least and largest standard deviation of the blur, in pixels
    "solarize": 0.0,  # probability
    "later": {},  # settings that are different in all views but the first
}

MODEL = {
    "name": "small",
    "width": 64,
    "stem": "patch",
    "last_stride": 2,  # of the last stage; 1 for tasks on small patches
    "standardize": False,  # every input to mean 0 and standard deviation 1
    "zero_init_residual": False,  # the last layer of each residual branch starts as zero
    "batch_norm_group": 0,  # inputs of the extractor that share batch statistics; 0: all
}

# See the attributes of `lens_jax.lens.lens.Lens`.
LENS = {
    "kind": "network",  # what alters inputs: network (the lens), none, random, fgsm or pgd
    "acts_on": "views",  # what the extractor sees, such as patches; or the whole images
    "objective": "least_likely",  # full, least_likely, confusion; reconstruction: no adversary
    "budget": "penalty",  # lambda_ is fixed; target: it is steered; bound: there is none
    "lambda_": 100.0,  # weighs the mean squared change of pixels in [-1, 1]
    "target": 0.01,  # the mean squared change that the budget "target" holds
    "epsilon": 0.05,  # the mean absolute change of "bound"; the largest of random, fgsm and pgd
    "attack_steps": 5,  # of pgd
    "update_every": 1,  # steps of the extractor for each step of the lens
    "lensed_fraction": 1.0,  # of the images, the first ones, that the extractor sees lensed
    "raw_fraction": 1.0,  # of the images, the last ones, that it sees as they are
    "batch_norm": "joint",  # statistics over lensed and raw inputs together, or split
    "widths": (64, 128),  # channels at each resolution, finest first
    "blocks": 1,
    "patch": 4,  # side of the blocks of pixels that are folded into channels first
    "learning_rate": 1e-3,  # of Adam, not scaled with the batch
}

OPTIMIZER = {
    "name": "sgd",  # with momentum; or lars
    "learning_rate": 0.1,  # for 256 images a step
    "bias_factor": 1.0,  # times the learning rate, for biases and BatchNorm's parameters
    "momentum": 0.9,
    "trust_coefficient": 1e-3,  # of lars
    "weight_decay": 1e-4,
    "head_weight_decay": 1e-4,
    "warmup": "0 steps",
    "schedule": "cosine",  # or constant, or step: times 0.1 at each of decay_at
    "decay_at": (),
}

TRAIN = {
    "duration": "8 epochs",
    "accumulate": 1,  # parts that a batch is taken in, whose gradients are averaged for a step
    "log_every": "50 steps",
    "checkpoint_every": "1 epochs",
    "keep_checkpoints": 3,
    "rollbacks": 0,  # returns to the last checkpoint from a number that is not finite
    "monitors": True,  # watch embeddings and features, with a probe and neighbors where labels are
    "on_collapse": "warn",  # when all embeddings have become alike: warn, or stop
}

DEFAULTS = {
    "seed": 0,
    "dtype": "float32",  # of the computation; parameters, statistics and losses stay float32
    "remat": False,  # compute residual units again in the backward pass, to save memory
    "mesh": {"fsdp": 1},  # devices that share one copy of the train state; 1: each has its own
    "shuffle_answers": False,  # nothing can be learned: a null to compare a training with
    "shortcut": "none",  # in every image: none, arrow, chromatic, chromatic_radial or tint
    "data": DATA,
    "augment": AUGMENT,
    "task": {"name": ""},
    "model": MODEL,
    "lens": LENS,
    "optimizer": OPTIMIZER,
    "train": TRAIN,
}

# What keys stand for in a config from before they were there, if not for the default.
EARLIER = {"train": {"monitors": False}}

# The least and the largest legal value of the numbers above. Those of "lens", "augment", "task" and
# "data.depth" stand in the classes that are made of them, which check themselves.
UNBOUNDED = float("inf")
RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**32 - 1),
    "mesh.fsdp": (1, UNBOUNDED),
    "data.pair_distance": (1, UNBOUNDED),
    "data.image_size": (1, UNBOUNDED),
    "data.linear_size": (0, UNBOUNDED),
    "data.batch_size": (1, UNBOUNDED),
    "data.threads": (0, UNBOUNDED),
    "data.max_skipped": (0, 1),
    "model.width": (1, UNBOUNDED),
    "model.last_stride": (1, 2),
    "model.batch_norm_group": (0, UNBOUNDED),
    "optimizer.learning_rate": (0, UNBOUNDED),
    "optimizer.bias_factor": (0, UNBOUNDED),
    "optimizer.momentum": (0, 1),
    "optimizer.trust_coefficient": (0, UNBOUNDED),
    "optimizer.weight_decay": (0, UNBOUNDED),
    "optimizer.head_weight_decay": (0, UNBOUNDED),
    "train.accumulate": (1, UNBOUNDED),
    "train.keep_checkpoints": (1, UNBOUNDED),
    "train.rollbacks": (0, UNBOUNDED),
}

# The color distortion of TF-slim's `inception_preprocessing`, which revisiting-self-supervised uses
# for Rotation and Exemplar; of its four orders, the first.
SLIM_JITTER = {
    "jitter": 1.0,
    "jitter_kind": "slim",
    "brightness": 32 / 255,
    "contrast": 0.5,
    "saturation": 0.5,
    "hue": 0.2,
}


def _photos(name: str, eval_split: str) -> dict[str, Any]:
    """Photographs of 224 px, on a ResNet-50."""
    return {
        "augment": {"flip": 0.5, **SLIM_JITTER},
        "data": {
            "name": name,
            "eval_split": eval_split,
            "image_size": 224,
            "crop": "random",
            "eval_crop": "central",
            "batch_size": 256,
            "threads": 32,
        },
        "model": {"name": "resnet50", "stem": "imagenet"},
        "lens": {"widths": (32, 64, 128, 256), "patch": 2, "learning_rate": 1e-4},
    }


DATASETS: dict[str, dict[str, Any]] = {
    "imagenet2012": _photos("imagenet2012", "validation"),
    "imagenet100": _photos("imagenet100", "validation"),
    "youtube8m": _photos("youtube8m_frames", "validation"),
    "places205": _photos("places205", "validation"),
    "image_folder": _photos("image_folder", ""),
    "cifar10": {
        "data": {"name": "cifar10"},
        "model": {"name": "resnet18", "stem": "cifar"},
        "lens": {"widths": (32, 64, 128), "patch": 1},
    },
    "glyphs": {"data": {"name": "glyphs"}},
    "glyph_scenes": {"data": {"name": "glyph_scenes", "image_size": 64}},
    "glyph_videos": {"data": {"name": "glyph_videos", "image_size": 64}},
    "digits": {"data": {"name": "digits"}},
    "fashion_mnist": {"data": {"name": "fashion_mnist"}},
    "photo_crops": {"data": {"name": "photo_crops", "image_size": 64}},
    "textured_glyphs": {"data": {"name": "textured_glyphs", "image_size": 64}},
}
