"""Where prepared data sets lie, how they get there, and what to tell when one does not."""

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

    # Asked anew each time, as TFDS_DATA_DIR may have been set since TFDS was imported.
    return epath.Path(data_dir or tfds.core.constants.get_default_data_dir()).expanduser()


def find(name: str, folder: epath.Path) -> epath.Path:
    """Where the newest version of a data set lies, prepared as ArrayRecord.

    Of the frames of videos, which can be prepared in several ways, the only one is found by the
    plain name.

    Raises:
      UserError: it is not prepared, in several ways, or in another format. The text has the line to
        run.

    """
    import tensorflow_datasets as tfds

    found = _versions(folder / (_only_way(folder) if name == FRAMES else name))
    if not found:
        raise UserError(
            f"{name} is not prepared in {folder}: {_advice(_build_command(name, folder))}"
        )
    formats = {
        each.value for each in tfds.builder_from_directory(found[-1]).info.available_file_formats()
    }
    if "array_record" not in formats:
        legal, command = ", ".join(sorted(formats)), _convert_command(found[-1])
        raise UserError(f"{found[-1]} holds {legal}, not array_record: {_advice(command)}")
    return found[-1]


def make(name: str, config: str, folder: epath.Path) -> epath.Path:
    """Prepares one of the data sets that need no source unless it is there already, and says where it is."""
    builder_class = getattr(
        importlib.import_module(f"lens_jax.data.builders.{name}"), name.capitalize()
    )
    builder = builder_class(config=config or None, data_dir=folder, file_format="array_record")
    path = epath.Path(builder.data_dir)
    if not path.exists():
        with _locked(builder):
            # Another process may have prepared it while this one waited.
            if not path.exists():
                _write(builder)
    return path


def prepare(builder: Any, beam_options: list[str] | None = None) -> str:
    """Prepares a data set that must not be there yet, through Beam where `beam_options` are given.

    Returns:
      One line that says what was prepared, where, and how many examples each split has.

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
    splits = builder.info.splits.values()
    return f"{path} holds " + ", ".join(
        f"{split.num_examples:,} in {split.name}" for split in splits
    )


def _versions(folder: epath.Path) -> list[epath.Path]:
    import tensorflow_datasets as tfds

    found = [folder / str(version) for version in tfds.core.utils.version.list_all_versions(folder)]
    return [path for path in found if (path / "dataset_info.json").exists()]


def _only_way(folder: epath.Path) -> str:
    root = folder / FRAMES
    ways = sorted(
        path.name for path in (root.iterdir() if root.exists() else ()) if _versions(path)
    )
    if len(ways) > 1:
        legal = ", ".join(f"{FRAMES}/{way}" for way in ways)
        raise UserError(f"{FRAMES} is prepared in {len(ways)} ways in {folder}: use one of {legal}")
    return f"{FRAMES}/{ways[0]}" if ways else FRAMES


def _advice(command: str) -> str:
    # The tfds command does not even start without these two, which its package does not require.
    needs = (
        " (it needs `pip install apache-beam mlcroissant`)" if command.startswith("tfds ") else ""
    )
    return f"run `{command}` once{needs}"


def _build_command(name: str, folder: epath.Path) -> str:
    base, _, way = name.partition("/")
    if base in (FRAMES, "places205"):
        source = "FOLDER_OF_VIDEOS" if base == FRAMES else "FOLDER_OF_THE_UNPACKED_TAR_FILES"
        command = f"python -m lens_jax.prepare --dataset={base} --source={source} --data_dir={_quote(folder)}"
        return f"{command} {_sampling(way).flags}" if base == FRAMES else command
    command = f"tfds build {name} --data_dir={_quote(folder)} --file_format=array_record"
    manual = " --manual_dir=FOLDER_OF_THE_OFFICIAL_TAR_FILES" if name == "imagenet2012" else ""
    return command + manual


def _sampling(way: str) -> video.Sampling:
    return video.parse_name(way) or video.Sampling(1, "fps", 256)


def _convert_command(path: epath.Path) -> str:
    return (
        f"tfds convert_format --dataset_version_dir={_quote(path)} --out_file_format=array_record"
    )


def _quote(path: epath.Path) -> str:
    return shlex.quote(os.fspath(path))


def _write(builder: Any, beam_options: list[str] | None = None) -> None:
    import tensorflow_datasets as tfds

    print(f"preparing {builder.info.full_name} in {builder.data_dir}")
    tfds.disable_progress_bar()
    # TFDS writes to a folder of another name and renames it at the end: what is there is whole.
    with redirect_stdout(io.StringIO()):
        builder.download_and_prepare(download_config=_download_config(beam_options))


def _download_config(beam_options: list[str] | None) -> Any:
    if beam_options is None:
        return None
    import tensorflow_datasets as tfds
    from apache_beam.options.pipeline_options import PipelineOptions

    return tfds.download.DownloadConfig(beam_options=PipelineOptions(flags=beam_options))


@contextmanager
def _locked(builder: Any) -> Iterator[None]:
    """Holds the data set's lock; what the file system refuses meanwhile is the user's to mend."""
    folder, config = epath.Path(builder.data_dir_root), builder.builder_config
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder / f".{builder.name}{config.name if config else ''}.lock"):
            yield
    except OSError as error:
        raise UserError(
            f"cannot prepare {builder.name} in {folder}: {error}; check that path"
        ) from error


@contextmanager
def _lock(path: epath.Path) -> Iterator[None]:
    """Holds a lock between processes; it goes with its process, so a killed one leaves none behind."""
    if "://" in os.fspath(path):
        # Buckets have no locks. TFDS' renaming at the end still keeps what is there whole.
        yield
        return
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
