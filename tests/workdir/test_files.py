import json
import pathlib
import threading
from collections.abc import Callable

import jax.numpy as jnp
import orbax.checkpoint as ocp
import pytest

from lens_jax.errors import UserError
from lens_jax.workdir import checkpoints, files

CONFIG = {"seed": 3, "lens": {"kind": "network", "widths": [8, 8]}, "data": {"dir": "é"}}
LIKE = {"x": jnp.zeros(3)}


def only_name(folder: pathlib.Path) -> str:
    """The name of the one file in a folder."""
    (path,) = folder.iterdir()
    return path.name


def test_a_config_is_read_as_it_was_written_and_marks_a_run(tmp_path):
    workdir = tmp_path / "runs" / "mine"
    assert not files.is_run(str(workdir))
    files.write_config(str(workdir), CONFIG)
    assert files.is_run(str(workdir))
    assert files.read_config(str(workdir)) == CONFIG
    assert only_name(workdir) == files.CONFIG_FILE
    record = json.loads((workdir / files.CONFIG_FILE).read_text())
    assert record == {"format": files.FORMAT, "config": CONFIG}


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (CONFIG, "format 1,"),  # as the first code wrote it: the config alone
        ({"format": files.FORMAT + 1, "config": CONFIG}, f"format {files.FORMAT + 1},"),
    ],
)
def test_a_config_of_another_format_is_refused_in_one_line(record: dict, found: str, tmp_path):
    text = json.dumps(record)
    (tmp_path / files.CONFIG_FILE).write_text(text)
    with pytest.raises(UserError) as caught:
        files.read_config(str(tmp_path))
    check_format_error(str(caught.value), str(tmp_path), found)
    assert (tmp_path / files.CONFIG_FILE).read_text() == text


def check_format_error(message: str, where: str, found: str) -> None:
    assert message.startswith(where)
    assert found in message
    assert f"reads format {files.FORMAT}" in message
    assert "use the version of lens_jax that wrote it" in message
    assert "damaged" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "words"), [(b"{", "is not JSON"), (b"\xff", "is not JSON"), (b"[]", "no config")]
)
def test_a_config_file_that_holds_no_config_is_refused(content: bytes, words: str, tmp_path):
    (tmp_path / files.CONFIG_FILE).write_bytes(content)
    with pytest.raises(UserError, match=rf"{files.CONFIG_FILE} .*{words}.*restore it") as caught:
        files.read_config(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written_to_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write to .*file/run: .*; make room"):
        files.write_config(str(tmp_path / "file" / "run"), CONFIG)


READERS = {
    "read_run": lambda manager: checkpoints.read_run(manager, 5),
    "restore": lambda manager: checkpoints.restore(manager, 5, LIKE),
    "restore_newest": lambda manager: checkpoints.restore_newest(manager, LIKE),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    ("run", "found"), [({"config": CONFIG}, "format 1,"), ({"format": 7}, "format 7,")]
)
def test_a_checkpoint_of_another_format_is_refused_and_left_where_it_is(
    run: dict, found: str, read: Callable, tmp_path, capsys
):
    with checkpoints.open_for_training(str(tmp_path), keep=5) as manager:
        items = ocp.args.Composite(state=ocp.args.StandardSave(LIKE), run=ocp.args.JsonSave(run))
        manager.save(5, args=items)
    with (
        checkpoints.open_for_training(str(tmp_path), keep=5) as manager,
        pytest.raises(UserError) as caught,
    ):
        read(manager)
    folder = tmp_path / files.CHECKPOINTS_FOLDER
    check_format_error(str(caught.value), f"checkpoint 5 in {folder}", found)
    assert not isinstance(caught.value, checkpoints.DamagedError)
    assert checkpoints.saved_steps(str(tmp_path)) == [5]
    assert only_name(tmp_path) == files.CHECKPOINTS_FOLDER
    assert capsys.readouterr().out == ""


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "file"
    for text in ("one\n", "", "é\n" * 1000):
        files.write_whole(path, text)
        assert path.read_text() == text
    assert only_name(tmp_path) == "file"


def test_where_the_disk_is_full_the_old_file_stays(tmp_path, no_file_above):
    path = tmp_path / "file"
    files.write_whole(path, "old")
    with no_file_above(100), pytest.raises(OSError, match="File too large"):
        files.write_whole(path, "new" * 1000)
    assert path.read_text() == "old"
    assert only_name(tmp_path) == "file"


def test_where_a_file_cannot_take_its_name_nothing_is_left_of_it(tmp_path):
    path = tmp_path / "file"
    (path / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        files.write_whole(path, "new")
    assert only_name(tmp_path) == "file"
    assert only_name(path) == "in the way"


def test_of_two_writers_one_wins_and_a_reader_never_sees_half_a_file(tmp_path):
    path = tmp_path / "file"
    texts = ["a" * 300_000, "b" * 200_000]
    files.write_whole(path, texts[0])

    def write(text: str) -> None:
        for _ in range(40):
            files.write_whole(path, text)

    writers = [threading.Thread(target=write, args=(text,)) for text in texts]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert path.read_text() in texts
    for writer in writers:
        writer.join()
    assert path.read_text() in texts
    assert only_name(tmp_path) == "file"
