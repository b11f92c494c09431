import shutil
import threading

import pytest

from lens_jax.errors import UserError
from lens_jax.eval import follow as module
from lens_jax.eval.follow import follow


@pytest.fixture(autouse=True)
def _impatient(monkeypatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.02)


def test_the_newest_checkpoint_comes_once(train_to, tmp_path):
    train_to(1, 3)
    assert [frozen.step for frozen in follow(str(tmp_path), to_the_end=False, wait=True)] == [3]


def test_to_the_end_every_checkpoint_comes_once_and_the_last_ends_it(train_to, tmp_path):
    train_to(1, 2)
    steps = []
    for frozen in follow(str(tmp_path), to_the_end=True, wait=False):
        steps.append(frozen.step)
        assert frozen.state.step == frozen.step
        if frozen.step == 2:
            train_to(3, 4)
    assert steps == [1, 2, 3, 4]


def test_a_checkpoint_that_was_deleted_before_it_was_read_is_passed_over(
    train_to, tmp_path, capsys
):
    train_to(1, 2)
    following = follow(str(tmp_path), to_the_end=True, wait=False)
    assert next(following).step == 1
    shutil.rmtree(tmp_path / "checkpoints" / "2")
    train_to(4)
    assert [frozen.step for frozen in following] == [4]
    assert "checkpoint 2 was deleted" in capsys.readouterr().out


def test_before_the_first_checkpoint_it_waits_and_says_so_once(train_to, tmp_path, capsys):
    timer = threading.Timer(0.3, train_to, (4,))
    timer.start()
    assert [frozen.step for frozen in follow(str(tmp_path), to_the_end=True, wait=True)] == [4]
    timer.join()
    assert capsys.readouterr().out.count("waiting for the first checkpoint") == 1


def test_without_waiting_a_folder_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no checkpoint in .*--once"):
        next(follow(str(tmp_path), to_the_end=True, wait=False))
