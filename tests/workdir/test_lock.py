import pathlib

import pytest

from lens_jax.errors import UserError
from lens_jax.workdir import lock


def snapshot(folder: pathlib.Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_a_work_directory_is_held_once_and_the_second_touches_nothing(tmp_path):
    workdir = tmp_path / "runs" / "mine"
    with lock.hold(str(workdir)):
        before = snapshot(workdir)
        with (
            pytest.raises(UserError, match=r"another run is training in .*mine"),
            lock.hold(str(workdir)),
        ):
            pytest.fail("held twice")
        assert snapshot(workdir) == before
        with lock.hold(str(tmp_path / "runs" / "another")):
            pass


@pytest.mark.parametrize("failure", [None, ValueError])
def test_it_is_free_again_however_the_run_ended(failure, tmp_path):
    try:
        with lock.hold(str(tmp_path)):
            if failure:
                raise failure
    except ValueError:
        pass
    with lock.hold(str(tmp_path)):
        pass


def test_a_path_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"cannot write to .*file.*: .*; make room there"),
        lock.hold(str(tmp_path / "file" / "run")),
    ):
        pytest.fail("held a file")


def test_a_bucket_is_not_held():
    with lock.hold("gs://bucket/run"), lock.hold("gs://bucket/run"):
        pass
