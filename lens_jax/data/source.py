"""Opens data sets by name as random access sources of encoded images with labels.

Nothing is ever downloaded. The project's own data sets are made on the spot. The others have to be
prepared beforehand, and the error message says how.
"""

from etils import epath
from ml_collections import ConfigDict

from lens_jax.data import preparation, tfds_records, video
from lens_jax.data.folder import open_folder
from lens_jax.data.records import Source
from lens_jax.data.selection import EACH_RECORD, Selection
from lens_jax.errors import UserError

# The configurations of each data set that this project makes: the first is the default, and "" the
# only one of a data set without.
_OWN = {
    "glyphs": ("32", "48", "64", "96", "128"),
    "glyph_scenes": ("96", "64", "128"),
    "glyph_videos": ("64", "48", "96"),
    "digits": ("",),
}
_PREPARED = (
    "cifar10",
    "imagenet2012",
    "imagenet100",
    "places205",
    preparation.FRAMES,
    preparation.TEXTURED,
)
# Those of the data sets that `lens_jax.prepare` makes of files that users bring; likewise.
_BROUGHT = {
    "fashion_mnist": ("32",),
    "photo_crops": ("64", "32", "96", "64-gray", "32-gray", "96-gray"),
}


def names() -> tuple[str, ...]:
    """The names that `open_source` knows."""
    configured = []
    for name, configs in (_OWN | _BROUGHT).items():
        for config in configs[1:]:
            configured.append(f"{name}/{config}")
    any_other = f"{tfds_records.PREFIX}NAME"
    return (*_OWN, *_BROUGHT, *configured, *_PREPARED, any_other, "image_folder")


def open_train(data: ConfigDict) -> Source:
    """Opens what a config's section "data" says to train on: images, boxes or pairs."""
    return open_source(data.name, data.train_split, data.dir, data.classes, read_selection(data))


def open_split(data: ConfigDict, split: str) -> Source:
    """Opens a split of the same data set to evaluate on, where examples are no pairs."""
    selection = Selection(boxes=data.boxes)
    return open_source(data.name, split, data.dir, data.classes, selection)


def read_selection(data: ConfigDict) -> Selection:
    """What a config's section "data" makes an example of; raises `UserError` as `check` does."""
    selection = Selection(data.boxes, data.pairs, data.pair_distance)
    selection.check(data.orient)
    return selection


def open_source(
    name: str,
    split: str,
    data_dir: str = "",
    classes: str = "folder",
    selection: Selection = EACH_RECORD,
) -> Source:
    """Opens a split of a data set.

    The glyphs and "digits" are prepared in `data_dir` where they are not yet; other processes that
    want the same wait. "cifar10" and "imagenet2012" are read from where TFDS prepared them,
    "places205", "youtube8m_frames" and "textured_glyphs" from where `lens_jax.prepare` did. Of
    several preparations of the last two, one is named like "youtube8m_frames/1fps-256" or
    "textured_glyphs/64-tied90". "tfds:NAME" is any data set that TFDS
    prepared as ArrayRecord, see `tfds_records.parse` for what else such a name may say.
    "image_folder" is any folder of image files, see `open_folder`.

    Args:
      name: one of `names()`.
      split: one of the data set's splits, such as "train"; "" is the one to evaluate on, see
        `records.choose_split`.
      data_dir: TFDS' directory, where "" stands for its default; or the image folder.
      classes: what the classes of an image folder are, see `open_folder`.
      selection: what an example is, see `tfds_records.open_records`.

    Raises:
      UserError: an unknown name or split, data that is not there or not readable at random, or that
        has no boxes or frames where these are selected.

    """
    if name == "image_folder":
        if not selection.is_plain:
            raise UserError(
                "image_folder has no boxes and no videos: set data.boxes and data.pairs to none"
            )
        return open_folder(data_dir, split, classes)

    path = find_prepared(name, data_dir)
    image, label = "", ""
    if name.startswith(tfds_records.PREFIX):
        _, _, image, label = tfds_records.parse(name)
    return tfds_records.open_records(path, split, image, label, selection)


def find_prepared(name: str, data_dir: str = "") -> epath.Path:
    """The folder of a data set's version, where the project's own are prepared if they are not yet.

    Args:
      name: one of `names()`, but not "image_folder".
      data_dir: TFDS' directory, where "" stands for its default.

    Raises:
      UserError: an unknown name, or data that is not there or not readable at random.

    """
    # Prepared beforehand, by TFDS or by `lens_jax.prepare`.
    if name.startswith(tfds_records.PREFIX):
        wanted = tfds_records.parse(name)
        folder = preparation.data_folder(data_dir)
        return preparation.find(wanted.name, folder, wanted.version)
    if name in _PREPARED or _is_sampling(name) or preparation.parse_textured(name):
        folder = preparation.data_folder(data_dir)
        return preparation.find(name, folder)

    # In several configurations, of which the first is the default.
    base, _, config = name.partition("/")
    configs = (_OWN | _BROUGHT).get(base, ())
    if configs and not config:
        config = configs[0]
    if config in configs:
        folder = preparation.data_folder(data_dir)
        if base in _BROUGHT:
            return preparation.find(f"{base}/{config}", folder)
        # Made here where it is not there yet.
        return preparation.make(base, config, folder)

    legal = ", ".join(names())
    raise UserError(f"unknown data set {name!r}: use one of {legal}")


def _is_sampling(name: str) -> bool:
    """Whether it is one way of preparing frames, such as "youtube8m_frames/1fps-256"."""
    base, _, config = name.partition("/")
    return base == preparation.FRAMES and video.parse_name(config) is not None
