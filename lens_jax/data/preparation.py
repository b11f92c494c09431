"""Finds prepared data sets, prepares them, and explains how to when one is missing."""

import fcntl
import importlib
import io
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from etils import epath

from lens_jax.data import video
from lens_jax.errors import UserError

FRAMES = "youtube8m_frames"


def data_folder(data_dir: str) -> epath.Path:
    """The folder of all data sets; "" stands for TFDS' default."""
    import tensorflow_datasets as tfds

    # Read each time, as TFDS_DATA_DIR may have been set since TFDS was imported.
    folder = data_dir or tfds.core.constants.get_default_data_dir()
    return epath.Path(folder).expanduser()


def find(name: str, folder: epath.Path) -> epath.Path:
    """The folder of the newest version of a data set, which is prepared as ArrayRecord.

    Frames of videos can be prepared in several ways; where there is only one, the plain name stands
    for it.

    Raises:
      UserError: it is not prepared, or in another format; the text has the line to run. Or the
        plain name stands for several ways.

    """
    import tensorflow_datasets as tfds

    full_name = _only_way(folder) if name == FRAMES else name
    versions = _versions(folder / full_name)
    if not versions:
        command = _build_command(name, folder)
        raise UserError(f"{name} is not prepared in {folder}: {_advice(command)}")

    newest = versions[-1]
    info = tfds.builder_from_directory(newest).info
    formats = {each.value for each in info.available_file_formats()}
    if "array_record" not in formats:
        present = ", ".join(sorted(formats))
        command = _convert_command(newest)
        raise UserError(f"{newest} holds {present}, not array_record: {_advice(command)}")
    return newest


def make(name: str, config: str, folder: epath.Path) -> epath.Path:
    """Returns the folder of "glyphs" or "digits", and prepares it first if it is not there."""
    module = importlib.import_module(f"lens_jax.data.builders.{name}")
    builder_class = getattr(module, name.capitalize())
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


def _only_way(folder: epath.Path) -> str:
    """The name of the only way in which frames are prepared; the plain one if there is none."""
    root = folder / FRAMES
    if not root.exists():
        return FRAMES
    ways = []
    for path in root.iterdir():
        if _versions(path):
            ways.append(f"{FRAMES}/{path.name}")
    ways.sort()
    if len(ways) > 1:
        legal = ", ".join(ways)
        raise UserError(f"{FRAMES} is prepared in {len(ways)} ways in {folder}: use one of {legal}")
    return ways[0] if ways else FRAMES


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
        return _prepare_command(base, "FOLDER_OF_VIDEOS", f"{data_dir} {sampling.flags}")
    if base == "places205":
        return _prepare_command(base, "FOLDER_OF_THE_UNPACKED_TAR_FILES", data_dir)
    command = f"tfds build {name} {data_dir} --file_format=array_record"
    if name == "imagenet2012":
        command += " --manual_dir=FOLDER_OF_THE_OFFICIAL_TAR_FILES"
    return command


def _prepare_command(name: str, source: str, options: str) -> str:
    return f"python -m lens_jax.prepare --dataset={name} --source={source} {options}"


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
