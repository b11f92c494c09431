import contextlib
import pathlib
import shutil
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from lens_jax.errors import UserError
from lens_jax.workdir import checkpoints, files
from lens_jax.workdir.checkpoints import DamagedError

STEPS = (3, 6)
LIKE = {"count": jnp.int32(0), "kernel": jnp.zeros((60, 80))}


def state_of(step: int) -> dict[str, jax.Array]:
    return {"count": jnp.int32(step), "kernel": jax.random.normal(jax.random.key(step), (60, 80))}


def save(workdir: pathlib.Path, *steps: int) -> None:
    with checkpoints.open_for_training(str(workdir), keep=5) as manager:
        for step in steps:
            checkpoints.save(manager, step, state_of(step), {"position": {"next_index": step}})


def go_on(workdir: pathlib.Path) -> checkpoints.Restored | None:
    with checkpoints.open_for_training(str(workdir), keep=5) as manager:
        return checkpoints.restore_newest(manager, LIKE)


def flip(path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def truncate(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def files_below(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in files_below(folder)}


def largest(folder: pathlib.Path) -> pathlib.Path:
    return max(files_below(folder), key=lambda path: path.stat().st_size)


@pytest.fixture(scope="module")
def _saved(tmp_path_factory) -> pathlib.Path:
    workdir = tmp_path_factory.mktemp("saved")
    save(workdir, *STEPS)
    return workdir


@pytest.fixture
def workdir(_saved, tmp_path) -> pathlib.Path:
    """A copy of a work directory with two checkpoints."""
    return shutil.copytree(_saved, tmp_path / "run")


def check_is(restored: checkpoints.Restored, step: int) -> None:
    assert (restored.step, restored.run["position"]) == (step, {"next_index": step})
    for name, value in state_of(step).items():
        np.testing.assert_array_equal(restored.state[name], value)


def test_without_damage_the_newest_is_read_and_nothing_moves(workdir, capsys):
    check_is(go_on(workdir), 6)
    assert checkpoints.saved_steps(str(workdir)) == [3, 6]
    assert not (workdir / files.DAMAGED_FOLDER).exists()
    assert capsys.readouterr().out == ""


def test_a_folder_without_checkpoints_returns_none(tmp_path):
    assert go_on(tmp_path) is None


@pytest.mark.parametrize("damage", [flip, truncate, pathlib.Path.unlink])
def test_damage_to_any_file_of_either_item_is_found_and_the_file_named(damage: Callable, workdir):
    step = workdir / "checkpoints" / "6"
    paths = [path for item in ("state", "run") for path in files_below(step / item)]
    assert len(paths) > 8
    with contextlib.closing(checkpoints.open_checkpoints(str(workdir))) as manager:
        for path in paths:
            content = path.read_bytes()
            damage(path)
            with pytest.raises(DamagedError, match=str(path.relative_to(step))):
                checkpoints.restore(manager, 6, LIKE)
            path.write_bytes(content)
        check_is(checkpoints.restore(manager, 6, LIKE), 6)


def test_a_flipped_bit_in_an_array_would_be_read_without_the_digests(workdir):
    step = workdir / "checkpoints" / "6"
    flip(largest(step))
    with contextlib.closing(checkpoints.open_checkpoints(str(workdir))) as manager:
        args = ocp.args.Composite(state=ocp.args.StandardRestore(LIKE))
        kernel = manager.restore(6, args=args)["state"]["kernel"]
    assert np.sum(kernel != state_of(6)["kernel"]) > 0


def half_delete(step: pathlib.Path) -> None:
    for path in files_below(step)[::2]:
        path.unlink()


def empty(step: pathlib.Path) -> None:
    shutil.rmtree(step)
    step.mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        lambda step: flip(largest(step)),
        lambda step: truncate(largest(step)),
        lambda step: flip(step / "digests.json"),
        lambda step: truncate(step / "digests.json"),
        lambda step: (step / "digests.json").unlink(),
        lambda step: shutil.rmtree(step / "state"),
        half_delete,
        empty,
    ],
)
def test_training_goes_on_from_the_one_before_and_moves_the_damaged_one_aside(
    damage, workdir, capsys
):
    damage(workdir / "checkpoints" / "6")
    left = contents(workdir / "checkpoints" / "6")
    check_is(go_on(workdir), 3)
    (line,) = capsys.readouterr().out.splitlines()
    assert "checkpoint 6 in" in line
    assert f"moved it to {workdir / 'checkpoints_damaged' / '6'}" in line
    assert contents(workdir / "checkpoints_damaged" / "6") == left
    assert checkpoints.saved_steps(str(workdir)) == [3]


def test_its_step_can_be_saved_again_and_a_second_damaged_one_has_its_own_place(workdir):
    for _ in range(2):
        flip(largest(workdir / "checkpoints" / "6"))
        with checkpoints.open_for_training(str(workdir), keep=5) as manager:
            check_is(checkpoints.restore_newest(manager, LIKE), 3)
            checkpoints.save(manager, 6, state_of(6), {"position": {"next_index": 6}})
        check_is(go_on(workdir), 6)
    assert sorted(path.name for path in (workdir / "checkpoints_damaged").iterdir()) == ["6", "6-2"]


def test_where_all_are_damaged_nothing_is_moved_and_one_line_is_raised(workdir, capsys):
    for step in STEPS:
        flip(largest(workdir / "checkpoints" / str(step)))
    before = contents(workdir)
    with pytest.raises(UserError, match=r"none of the 2 checkpoints .* can be read") as caught:
        go_on(workdir)
    assert "\n" not in str(caught.value)
    assert contents(workdir) == before
    assert capsys.readouterr().out == ""


def test_the_run_object_can_be_read_as_long_as_its_own_files_are_intact(workdir):
    flip(largest(workdir / "checkpoints" / "6" / "state"))
    flip(workdir / "checkpoints" / "3" / "run" / "metadata")
    with contextlib.closing(checkpoints.open_checkpoints(str(workdir))) as manager:
        assert checkpoints.read_run(manager, 6)["position"] == {"next_index": 6}
        with pytest.raises(DamagedError, match="run/metadata has changed"):
            checkpoints.read_run(manager, 3)


def save_too_much(workdir: pathlib.Path, checks: int) -> None:
    """Saves 4 MB, and checks so many times whether that failed, a tenth of a second apart."""
    state = {"noise": jax.random.normal(jax.random.key(0), (1 << 20,))}
    with checkpoints.open_for_training(str(workdir), keep=5) as manager:
        checkpoints.save(manager, 9, state, {})
        for _ in range(checks):
            time.sleep(0.1)
            checkpoints.check_saved(manager)
        assert not checks, "no check has found the failure"


@pytest.mark.parametrize("checks", [600, 0])
def test_a_save_that_fails_is_raised_at_the_next_check_or_at_the_end_and_earlier_ones_stay(
    checks, workdir, no_file_above
):
    before = contents(workdir / "checkpoints" / "6")
    expected = r"cannot save a checkpoint in .*: File too large; make room"
    with no_file_above(1 << 20), pytest.raises(UserError, match=expected) as caught:
        save_too_much(workdir, checks)
    assert "\n" not in str(caught.value)
    assert contents(workdir / "checkpoints" / "6") == before
    # Orbax removes what is left of the failed save in the background, at the latest when it saves.
    with checkpoints.open_for_training(str(workdir), keep=5) as manager:
        check_is(checkpoints.restore_newest(manager, LIKE), 6)
        checkpoints.save(manager, 9, state_of(9), {"position": {"next_index": 9}})
    check_is(go_on(workdir), 9)
    folders = [path.name for path in (workdir / "checkpoints").iterdir() if path.is_dir()]
    assert sorted(folders) == ["3", "6", "9"]
