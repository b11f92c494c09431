import dataclasses

import numpy as np
import pyarrow.parquet as pq
import pytest

from lens_jax.errors import UserError
from lens_jax.eval import embed
from lens_jax.eval.suites.base import Subject


@pytest.fixture
def subject(make_frozen, colorful, tmp_path) -> Subject:
    """Seven red, green and blue images, of which the third does not decode."""
    known = {"dataset": "colors/1.0.0", "split": "test", "fingerprint": "0123"}
    source = dataclasses.replace(colorful(7, broken=(2,)), **known)
    frozen = make_frozen({"lens.kind": "none"})
    return Subject(frozen, "online", "raw", source, source, "", str(tmp_path / "store"))


def read(path) -> dict[str, list]:
    if path.suffix == ".parquet":
        table = pq.read_table(path).to_pydict()
        return {name: table[name] for name in ("name", "label", "features")}
    with np.load(path) as arrays:
        return {name: arrays[name].tolist() for name in ("name", "label", "features")}


@pytest.mark.parametrize("suffix", embed.FORMATS)
def test_each_image_that_decodes_has_its_name_its_label_and_its_features(
    subject, tmp_path, suffix: str
):
    path = tmp_path / f"embeddings{suffix}"
    embed.write(subject, str(path))
    found = read(path)
    assert found["name"] == [f"image {i}" for i in (0, 1, 3, 4, 5, 6)]
    assert found["label"] == ["red", "green", "red", "green", "blue", "red"]
    expected = subject.rows(subject.test).taps["pre_logits"]
    np.testing.assert_array_equal(np.array(found["features"], np.float32), expected)
    # Nothing unfinished is left.
    assert {each.name for each in tmp_path.iterdir()} == {path.name, "store"}


@pytest.mark.parametrize(
    ("name", "words"),
    [("features.csv", "must end in .npz or .parquet"), ("none/features.npz", "there is no folder")],
)
def test_a_file_that_cannot_be_written_is_refused(tmp_path, name: str, words: str):
    with pytest.raises(UserError, match=words):
        embed.check_file(str(tmp_path / name))
