"""Prepares the data sets whose images or videos have to be at hand, for training to read.

    python -m lens_jax.prepare --dataset=places205 --source=FOLDER --data_dir=DIR
    python -m lens_jax.prepare --dataset=youtube8m_frames --source=VIDEOS --data_dir=DIR
        --frames_per_second=1

Instead of --frames_per_second, frames can be asked for by --frames_per_video=8; --labels=labels.csv
and --size=256 are optional.

places205: FOLDER is where the official archives were unpacked. It holds the folder
data/vision/torralba/deeplearning/images256, and train_places205.csv and val_places205.csv in itself
or in trainvalsplit_places205.

youtube8m_frames: VIDEOS holds one file for each video, named by its id, such as dQw4w9WgXcQ.mp4.
Decoding needs the extra `video` (pip install --editable '.[video]'). Labels are a CSV file with the
header id,label. One video in 20, by the hash of its id, goes to the split "validation". Every way
of sampling makes a data set of its own, such as youtube8m_frames/1fps-256; while there is only one,
the plain name stands for it.

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
from lens_jax.errors import UserError, check_choice

DATASETS = ("places205", "youtube8m_frames")
DATASET = flags.DEFINE_string("dataset", None, f"One of {', '.join(DATASETS)}.")
SOURCE = flags.DEFINE_string("source", None, "Folder of the images and lists, or of the videos.")
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
SIZE = flags.DEFINE_integer("size", 256, "Shorter side of the frames in pixels.")
BEAM_OPTIONS = flags.DEFINE_list(
    "beam_options", None, "Options of the Beam pipeline; without it by default."
)

# The flags that places205 has no use for.
_OF_FRAMES = ("labels", "frames_per_second", "frames_per_video", "size", "beam_options")


def main() -> None:
    """Prepares one data set."""
    check_choice("data set", DATASET.value, DATASETS)
    # TFDS warns of every builder config that its class does not list, and a sampling never is.
    logging.set_verbosity(logging.ERROR)
    if DATASET.value == "places205":
        prepare_places205()
    else:
        prepare_youtube8m_frames()


def prepare_places205() -> None:
    """Prepares Places205 as the flags say."""
    for name in _OF_FRAMES:
        if flags.FLAGS[name].present:
            raise UserError(f"--{name} is for youtube8m_frames, not for places205: leave it away")
    from lens_jax.data.builders import places205

    places205.prepare(SOURCE.value, DATA_DIR.value)


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

    if per_video is None:
        sampling = video.Sampling(per_second, "fps", SIZE.value)
    else:
        sampling = video.Sampling(per_video, "frames", SIZE.value)
    youtube8m_frames.prepare(
        SOURCE.value, LABELS.value, DATA_DIR.value, sampling, BEAM_OPTIONS.value
    )


def _require(module: str, what: str, fix: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise UserError(f"{what} needs the package {module}: {fix}")


if __name__ == "__main__":
    flags.mark_flags_as_required(["dataset", "source"])
    cli.run(main)
