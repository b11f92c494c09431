"""Finds prepared data sets, prepares them, and explains how to when one is missing."""

import fcntl
import importlib
import io
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from etils import epath

from lens_jax.data import video
from lens_jax.errors import UserError

FRAMES = "youtube8m_frames"
TEXTURED = "textured_glyphs"
# What the folders hold that data sets are prepared from.
_SOURCES = {
    "places205": "FOLDER_OF_THE_UNPACKED_TAR_FILES",
    "fashion_mnist": "FOLDER_OF_THE_IDX_FILES",
}
# Side in pixels, and percentage of the letters that have the texture of their class.
_TEXTURED = re.compile(TEXTURED + r"/(?P<size>\d+)-tied(?P<percent>\d+)", re.ASCII)
# The name of a copy whose images have limited sides, see `limited_name`.
_LIMITED = re.compile(r"(?P<name>\w+)_max(?P<side>\d+)", re.ASCII)


def data_folder(data_dir: str) -> epath.Path:
    """The folder of all data sets; "" stands for TFDS' default."""
    import tensorflow_datasets as tfds

    # Read each time, as TFDS_DATA_DIR may have been set since TFDS was imported.
    folder = data_dir or tfds.core.constants.get_default_data_dir()
    return epath.Path(folder).expanduser()


def parse_textured(name: str) -> tuple[int, int] | None:
    """Side and percentage of a name such as "textured_glyphs/64-tied90"; None for other names."""
    match = _TEXTURED.fullmatch(name)
    return match and (int(match["size"]), int(match["percent"]))


def find(name: str, folder: epath.Path, version: str = "") -> epath.Path:
    """The folder of a version of a data set, which is prepared as ArrayRecord.

    Frames of videos and many sets of TFDS can be prepared in several ways; where there is only one,
    the plain name stands for it.

    Args:
      name: the data set's name, and after a "/" that of one way of preparing it.
      folder: the folder of all data sets.
      version: such as "1.0.0"; "" stands for the newest.

    Raises:
      UserError: it is not prepared, or in another format; the text has the line to run. Or the
        plain name stands for several ways.

    """
    import tensorflow_datasets as tfds

    full_name = _only_way(name, folder)
    versions = _versions(folder / full_name)
    if not versions:
        command = _build_command(name, folder)
        raise UserError(f"{name} is not prepared in {folder}: {_advice(command)}")

    numbers = [path.name for path in versions]
    if version and version not in numbers:
        legal = ", ".join(numbers)
        raise UserError(f"no version {version} of {name} in {folder}: use one of {legal}")
    chosen = folder / full_name / (version or numbers[-1])

    info = tfds.builder_from_directory(chosen).info
    formats = {each.value for each in info.available_file_formats()}
    if "array_record" not in formats:
        present = ", ".join(sorted(formats))
        command = _convert_command(chosen)
        raise UserError(f"{chosen} holds {present}, not array_record: {_advice(command)}")
    return chosen


def make(name: str, config: str, folder: epath.Path) -> epath.Path:
    """Returns the folder of a set that is made on the spot, such as "glyph_scenes".

    It is prepared first if it is not there.
    """
    module = importlib.import_module(f"lens_jax.data.builders.{name}")
    # Such as GlyphScenes.
    class_name = name.title().replace("_", "")
    builder_class = getattr(module, class_name)
    builder = builder_class(config=config or None, data_dir=folder, file_format="array_record")
    path = epath.Path(builder.data_dir)
    if not path.exists():
        with _locked(builder):
            # Another process may have prepared it while this one waited.
            if not path.exists():
                _write(builder)
    return path


def prepare(builder: Any, beam_options: list[str] | None = None) -> str:
    """Prepares a data set that must not be there yet, with Beam where `beam_options` are given.

    Returns:
      One line: where the data set is, and how many examples each split has.

    Raises:
      UserError: it is there already, or its folder cannot be written.

    """
    with _locked(builder):
        path = epath.Path(builder.data_dir)
        if path.exists():
            raise UserError(
                f"{path} is there already: use it as it is, or remove it to prepare it anew"
            )
        _write(builder, beam_options)
    counts = []
    for split in builder.info.splits.values():
        counts.append(f"{split.num_examples:,} in {split.name}")
    return f"{path} holds {', '.join(counts)}"


def _versions(folder: epath.Path) -> list[epath.Path]:
    """The folders of a data set's versions that are complete, the newest last."""
    import tensorflow_datasets as tfds

    versions = tfds.core.utils.version.list_all_versions(folder)
    paths = [folder / str(version) for version in versions]
    return [path for path in paths if (path / "dataset_info.json").exists()]


def _only_way(name: str, folder: epath.Path) -> str:
    """The only way in which a data set is prepared; its plain name if that is one, or if none is.

    A way, which TFDS calls a config, has a folder of its own between name and version.
    """
    root = folder / name
    if _versions(root) or not root.exists():
        return name
    ways = []
    for path in root.iterdir():
        if _versions(path):
            ways.append(f"{name}/{path.name}")
    ways.sort()
    if len(ways) > 1:
        legal = ", ".join(ways)
        raise UserError(f"{name} is prepared in {len(ways)} ways in {folder}: use one of {legal}")
    return ways[0] if ways else name


def _advice(command: str) -> str:
    advice = f"run `{command}` once"
    if command.startswith("tfds "):
        # The command does not even start without these two, which its package does not require.
        advice += " (it needs `pip install apache-beam mlcroissant`)"
    return advice


def _build_command(name: str, folder: epath.Path) -> str:
    base, _, way = name.partition("/")
    data_dir = f"--data_dir={_quote(folder)}"
    if base == FRAMES:
        sampling = video.parse_name(way) or video.Sampling(1, "fps", 256)
        return _prepare_command(base, f"--source=FOLDER_OF_VIDEOS {data_dir} {sampling.flags}")
    if base == "photo_crops":
        size, _, is_gray = way.partition("-")
        gray = " --gray" if is_gray else ""
        options = f"--source=FOLDER_OF_PHOTOGRAPHS {data_dir} --size={size}{gray}"
        return _prepare_command(base, options)
    textured = parse_textured(name)
    if base == TEXTURED:
        options = f"--source=FOLDER_OF_PHOTOGRAPHS {data_dir}"
        if textured:
            size, percent = textured
            options += f" --size={size} --tied={percent / 100:g}"
        return _prepare_command(base, options)
    if base in _SOURCES:
        return _prepare_command(base, f"--source={_SOURCES[base]} {data_dir}")
    if base == "imagenet100":
        return _prepare_command(base, data_dir)
    limited = _LIMITED.fullmatch(base)
    if limited:
        original = limited["name"]
        known = original if original in ("imagenet2012", *_SOURCES) else f"tfds:{original}"
        return _prepare_command(known, f"{data_dir} --max_side={limited['side']}")

    command = f"tfds build {name} {data_dir} --file_format=array_record"
    if name == "imagenet2012":
        command += " --manual_dir=FOLDER_OF_THE_OFFICIAL_TAR_FILES"
    return command


def _prepare_command(name: str, options: str) -> str:
    return f"python -m lens_jax.prepare --dataset={name} {options}"


def _convert_command(path: epath.Path) -> str:
    folder = _quote(path)
    return f"tfds convert_format --dataset_version_dir={folder} --out_file_format=array_record"


def _quote(path: epath.Path) -> str:
    return shlex.quote(os.fspath(path))


def _write(builder: Any, beam_options: list[str] | None = None) -> None:
    import tensorflow_datasets as tfds

    print(f"preparing {builder.info.full_name} in {builder.data_dir}")
    tfds.disable_progress_bar()
    # TFDS writes to a folder of another name and renames it at the end, so that a folder of the
    # right name is complete.
    with redirect_stdout(io.StringIO()):
        config = _download_config(beam_options)
        builder.download_and_prepare(download_config=config)


def _download_config(beam_options: list[str] | None) -> Any:
    if beam_options is None:
        return None
    import tensorflow_datasets as tfds
    from apache_beam.options.pipeline_options import PipelineOptions

    options = PipelineOptions(flags=beam_options)
    return tfds.download.DownloadConfig(beam_options=options)


@contextmanager
def _locked(builder: Any) -> Iterator[None]:
    """Holds the data set's lock; errors of the file system meanwhile are raised as `UserError`."""
    folder = epath.Path(builder.data_dir_root)
    config = builder.builder_config.name if builder.builder_config else ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder / f".{builder.name}{config}.lock"):
            yield
    except OSError as error:
        raise UserError(
            f"cannot prepare {builder.name} in {folder}: {error}; check that path"
        ) from error


@contextmanager
def _lock(path: epath.Path) -> Iterator[None]:
    """Holds a lock between processes, which the system releases when a process is killed."""
    if "://" in os.fspath(path):
        # Buckets have no locks. But as TFDS renames at the end, nothing incomplete is ever found.
        yield
        return
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
