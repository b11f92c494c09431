import pathlib
import shutil
import types

import pytest

from lens_jax.errors import UserError
from lens_jax.eval import follow as module
from lens_jax.eval.follow import follow
from lens_jax.eval.frozen import load
from lens_jax.workdir import checkpoints


def damage(workdir: pathlib.Path, step: int) -> None:
    """Flips one bit of the largest file, which holds arrays."""
    files = (path for path in (workdir / "checkpoints" / str(step)).rglob("*") if path.is_file())
    path = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_where_the_newest_is_damaged_the_one_before_is_evaluated_and_nothing_moves(
    train_to, tmp_path, capsys
):
    train_to(1, 3)
    damage(tmp_path, 3)
    assert [frozen.step for frozen in follow(str(tmp_path), to_the_end=False, wait=True)] == [1]
    (line,) = capsys.readouterr().out.splitlines()
    assert "checkpoint 3" in line
    assert "has changed since it was written; passing it over" in line
    assert checkpoints.saved_steps(str(tmp_path)) == [1, 3]
    with pytest.raises(UserError, match=r"checkpoint 3 .* is damaged"):
        load(str(tmp_path), 3)
    assert load(str(tmp_path)).step == 1
    assert "passing it over" in capsys.readouterr().out


def test_to_the_end_a_damaged_one_is_passed_over_until_it_comes_again(
    train_to, tmp_path, monkeypatch, capsys
):
    train_to(1, 4)
    damage(tmp_path, 4)
    # What training does to its work directory from one look at it to the next.
    meanwhile = iter([lambda: shutil.rmtree(tmp_path / "checkpoints" / "4"), lambda: train_to(4)])
    monkeypatch.setattr(module, "time", types.SimpleNamespace(sleep=lambda _: next(meanwhile)()))
    assert [frozen.step for frozen in follow(str(tmp_path), to_the_end=True, wait=False)] == [1, 4]
    assert capsys.readouterr().out.count("passing it over") == 1


def test_where_all_are_damaged_one_line_says_so(train_to, tmp_path):
    train_to(1)
    damage(tmp_path, 1)
    with pytest.raises(UserError, match=r"no checkpoint in .* can be read"):
        next(follow(str(tmp_path), to_the_end=False, wait=True))
