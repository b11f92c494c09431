"""Prepares the data sets whose images or videos have to be at hand, for training to read.

    python -m lens_jax.prepare --dataset=places205 --source=FOLDER --data_dir=DIR
    python -m lens_jax.prepare --dataset=fashion_mnist --source=FOLDER --data_dir=DIR
    python -m lens_jax.prepare --dataset=photo_crops --source=PHOTOGRAPHS --data_dir=DIR
    python -m lens_jax.prepare --dataset=textured_glyphs --source=PHOTOGRAPHS --data_dir=DIR
    python -m lens_jax.prepare --dataset=textures --source=imagenet100 --data_dir=DIR
    python -m lens_jax.prepare --dataset=imagenet2012 --max_side=256 --data_dir=DIR
    python -m lens_jax.prepare --dataset=imagenet100 --data_dir=DIR
    python -m lens_jax.prepare --dataset=youtube8m_frames --source=VIDEOS --data_dir=DIR
        --frames_per_second=1
    python -m lens_jax.prepare --dataset=tracks --source=youtube8m_frames --data_dir=DIR
        --checkpoint=RUN

fashion_mnist: FOLDER holds the four files of the release, such as train-images-idx3-ubyte.gz.
Debian has them in its package dataset-fashion-mnist.

photo_crops: squares of --size=64 (32, 96) pixels from all photographs below the folder, which are
halved first. With --gray they have no colors.

textured_glyphs: letters of --size=64 (32, 96) pixels that are filled with textures of ten of the
photographs, on the others as backgrounds. In training, a letter has the texture of its class with
the probability --tied=0.9, and else that of another one.

textures: the texture of each image of a prepared data set or a folder, which trainings read with
--config.task.non_semantic=texture. Two squares of --patch=96 pixels of the image make a texture of
--size=224 pixels; --split is train by default. Started again, it makes what is missing.

With --max_side=256, any data set that is prepared already (imagenet2012, places205, tfds:NAME) is
copied: images whose shorter side is longer than 256 px are resized to that, and stored as JPEG of
quality 95. The copy is named like tfds:imagenet2012_max256.

imagenet100: copies 100 classes of imagenet2012, which has to be prepared; --max_side is optional.

places205: FOLDER is where the official archives were unpacked. It holds the folder
data/vision/torralba/deeplearning/images256, and train_places205.csv and val_places205.csv in itself
or in trainvalsplit_places205.

youtube8m_frames: VIDEOS holds one file for each video, named by its id, such as dQw4w9WgXcQ.mp4.
Decoding needs the extra `video` (pip install --editable '.[video]'). Labels are a CSV file with the
header id,label. One video in 20, by the hash of its id, goes to the split "validation". Every way
of sampling makes a data set of its own, such as youtube8m_frames/1fps-256; while there is only one,
the plain name stands for it. Instead of --frames_per_second, frames can be asked for by
--frames_per_video=8; --labels=labels.csv and --size=256 are optional.

tracks: follows regions through the videos of a set that is prepared already, for
data.pairs=regions: windows on a grid that are each the nearest of the other in two frames, by the
features of a trained run. Tracks whose mean distance, 1 - cos, is above --max_distance=0.2 are
dropped. The set is named like tfds:youtube8m_frames_tracks.

With --beam_options, Apache Beam decodes the frames, which are the same as without. Beam needs other
versions of a few packages than constraints.txt has, and so an environment of its own, made without
that file: pip install --editable '.[beam,video]'. On the cores of one machine the options are

    --beam_options=--runner=FnApiRunner,--direct_running_mode=multi_processing,--direct_num_workers=8

and on Google Cloud Dataflow, with VIDEOS and DIR in buckets, and with a worker image that holds
this package with both extras and apache-beam[gcp],

    --beam_options=--runner=DataflowRunner,--project=ID,--region=REGION,--temp_location=gs://BUCKET/tmp,
        --sdk_container_image=IMAGE    (all in one word)
"""

import importlib.util

from absl import flags, logging

from lens_jax import cli
from lens_jax.errors import UserError, check_choice, check_range

DATASET = flags.DEFINE_string("dataset", None, "The data set, as above.")
SOURCE = flags.DEFINE_string(
    "source",
    None,
    "Folder of the images and lists, or of the videos; of tracks, a prepared set.",
)
DATA_DIR = flags.DEFINE_string(
    "data_dir", "", "Where the data set is written; TFDS' directory by default."
)
LABELS = flags.DEFINE_string(
    "labels", "", "CSV file with the header id,label; no labels by default."
)
FRAMES_PER_SECOND = flags.DEFINE_float("frames_per_second", None, "Frames to keep of each second.")
FRAMES_PER_VIDEO = flags.DEFINE_integer(
    "frames_per_video", None, "Or frames to keep of each video."
)
SIZE = flags.DEFINE_integer(
    "size",
    None,
    "Shorter side of frames, 256 by default; side of squares and letters, 64; of textures, 224.",
)
GRAY = flags.DEFINE_bool("gray", False, "Squares without colors.")
TIED = flags.DEFINE_float("tied", None, "How often a letter has its own texture, 0.9 by default.")
PATCH = flags.DEFINE_integer(
    "patch", None, "Side of the squares that textures are made from, 96 by default."
)
SPLIT = flags.DEFINE_string("split", None, "The images to make textures of, train by default.")
MAX_SIDE = flags.DEFINE_integer("max_side", None, "Largest shorter side of the copied images.")
CHECKPOINT = flags.DEFINE_string("checkpoint", "", "Run whose features regions are tracked by.")
MAX_DISTANCE = flags.DEFINE_float(
    "max_distance", 0.2, "Largest mean distance between the regions of a track.", 0.0, 2.0
)
BEAM_OPTIONS = flags.DEFINE_list(
    "beam_options", None, "Options of the Beam pipeline; without it by default."
)

FRAME_SIZE = 256
SQUARE_SIZE = 64
TIED_TEXTURES = 0.9
TEXTURE_SIZE = 224
TEXTURE_PATCH = 96

_COPIES = "copies"
_FRAMES = "youtube8m_frames"
_TRACKS = "tracks"
_OF_PHOTOGRAPHS = ("photo_crops", "textured_glyphs")
_MADE_OF_FILES = ("places205", "fashion_mnist", *_OF_PHOTOGRAPHS, _FRAMES, "textures")
# Which data sets have a use for a flag. Those that are made of no files are copied.
_USERS = {
    "source": (*_MADE_OF_FILES, _TRACKS),
    "checkpoint": (_TRACKS,),
    "max_distance": (_TRACKS,),
    "labels": (_FRAMES,),
    "frames_per_second": (_FRAMES,),
    "frames_per_video": (_FRAMES,),
    "size": (*_OF_PHOTOGRAPHS, _FRAMES, "textures"),
    "gray": ("photo_crops",),
    "tied": ("textured_glyphs",),
    "patch": ("textures",),
    "split": ("textures",),
    "beam_options": (_FRAMES,),
    "max_side": (_COPIES,),
}


def main() -> None:
    """Prepares one data set."""
    # TFDS warns of every builder config that its class does not list, and a sampling never is.
    logging.set_verbosity(logging.ERROR)
    dataset = DATASET.value
    if MAX_SIDE.value is not None or dataset == "imagenet100":
        copy()
        return

    check_choice("data set", dataset, (*_MADE_OF_FILES, "imagenet100", _TRACKS))
    check_flags(dataset)
    if dataset == _TRACKS:
        prepare_tracks()
        return
    if not SOURCE.value:
        raise UserError(f"{dataset} is made of files that you have: say with --source where")
    make = {
        "places205": prepare_places205,
        "fashion_mnist": prepare_fashion_mnist,
        "photo_crops": prepare_photo_crops,
        "textured_glyphs": prepare_textured_glyphs,
        "textures": prepare_textures,
        _FRAMES: prepare_youtube8m_frames,
    }
    make[dataset]()


def check_flags(what: str) -> None:
    """Raises `UserError` for a flag that was given and that `what` has no use for."""
    for name, users in _USERS.items():
        is_given = flags.FLAGS[name].present
        if is_given and what not in users:
            legal = ", ".join(users)
            raise UserError(f"--{name} is for {legal}, not for {what}: leave it away")


def copy() -> None:
    """Copies a prepared data set as the flags say."""
    check_flags(_COPIES)
    if MAX_SIDE.value is not None:
        check_range("--max_side", MAX_SIDE.value, 1)
    from lens_jax.data.builders import copies

    copies.prepare(DATASET.value, DATA_DIR.value, MAX_SIDE.value)


def prepare_places205() -> None:
    """Prepares Places205 as the flags say."""
    from lens_jax.data.builders import places205

    places205.prepare(SOURCE.value, DATA_DIR.value)


def prepare_fashion_mnist() -> None:
    """Prepares Fashion-MNIST as the flags say."""
    from lens_jax.data.builders import fashion_mnist

    fashion_mnist.prepare(SOURCE.value, DATA_DIR.value)


def prepare_photo_crops() -> None:
    """Prepares squares of photographs as the flags say."""
    from lens_jax.data.builders import photo_crops

    size = SQUARE_SIZE if SIZE.value is None else SIZE.value
    photo_crops.prepare(SOURCE.value, DATA_DIR.value, size, GRAY.value)


def prepare_textured_glyphs() -> None:
    """Prepares letters with textures of photographs as the flags say."""
    from lens_jax.data.builders import textured_glyphs

    size = SQUARE_SIZE if SIZE.value is None else SIZE.value
    tied = TIED_TEXTURES if TIED.value is None else TIED.value
    check_range("--tied", tied, 0, 1)
    textured_glyphs.prepare(SOURCE.value, DATA_DIR.value, size, tied)


def prepare_textures() -> None:
    """Makes the textures of images as the flags say."""
    from lens_jax.data.builders import textures

    patch = TEXTURE_PATCH if PATCH.value is None else PATCH.value
    size = TEXTURE_SIZE if SIZE.value is None else SIZE.value
    check_range("--patch", patch, textures.LEAST_PATCH)
    check_range("--size", size, patch)
    textures.prepare(SOURCE.value, SPLIT.value or "train", DATA_DIR.value, patch, size)


def prepare_youtube8m_frames() -> None:
    """Prepares frames of videos as the flags say."""
    per_second, per_video = FRAMES_PER_SECOND.value, FRAMES_PER_VIDEO.value
    if (per_second is None) == (per_video is None):
        raise UserError(
            "give either --frames_per_second, such as 1, or --frames_per_video, such as 8"
        )
    for flag in (FRAMES_PER_SECOND, FRAMES_PER_VIDEO, SIZE):
        if flag.value is not None and not 0 < flag.value < float("inf"):
            raise UserError(f"--{flag.name} is {flag.value}: it must be above 0")

    # Missing packages are reported before the videos are looked at, which may take long.
    _require("av", "--dataset=youtube8m_frames", "run `pip install --editable '.[video]'`")
    if BEAM_OPTIONS.value is not None:
        fix = "run `pip install --editable '.[beam,video]'` in an environment of its own"
        _require("apache_beam", "--beam_options", fix)
    from lens_jax.data import video
    from lens_jax.data.builders import youtube8m_frames

    size = SIZE.value or FRAME_SIZE
    if per_video is None:
        sampling = video.Sampling(per_second, "fps", size)
    else:
        sampling = video.Sampling(per_video, "frames", size)
    youtube8m_frames.prepare(
        SOURCE.value, LABELS.value, DATA_DIR.value, sampling, BEAM_OPTIONS.value
    )


def prepare_tracks() -> None:
    """Tracks regions through videos as the flags say."""
    if not SOURCE.value or not CHECKPOINT.value:
        raise UserError(
            "tracks needs --source, the name of a prepared set of frames such as youtube8m_frames, "
            "and --checkpoint, the folder of a run"
        )
    from lens_jax.data.builders import tracks
    from lens_jax.eval.frozen import load
    from lens_jax.eval.regions import make_region_features

    describe = make_region_features(load(CHECKPOINT.value))
    tracks.prepare(SOURCE.value, DATA_DIR.value, describe, MAX_DISTANCE.value)


def _require(module: str, what: str, fix: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise UserError(f"{what} needs the package {module}: {fix}")


if __name__ == "__main__":
    flags.mark_flag_as_required("dataset")
    cli.run(main)
