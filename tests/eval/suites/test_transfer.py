"""Transfer to other data sets, which are found by their names."""

import numpy as np
import pytest

from lens_jax.data.builders import png
from lens_jax.errors import UserError
from lens_jax.eval.suites.transfer import Transfer


@pytest.fixture
def folder(tmp_path) -> str:
    """A folder of dark and light images, ten of each to learn from and five to evaluate on."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 10), ("test", 5)):
        for name, level in (("dark", 40), ("light", 200)):
            directory = tmp_path / "images" / split / name
            directory.mkdir(parents=True)
            for index in range(count):
                image = rng.integers(level, level + 20, (16, 16, 3)).astype(np.uint8)
                (directory / f"{index}.png").write_bytes(png.encode(image))
    return str(tmp_path / "images")


def test_what_is_easy_is_learned_and_a_constant_network_is_at_chance(
    make_subject, constant, folder
):
    suite = Transfer(datasets=("image_folder",), k=3)
    subject = make_subject()._replace(data_dir=folder)
    suite.check(subject)
    sources = suite.sources(subject)
    assert {role: len(source) for role, source in sources.items()} == {
        "image_folder train": 20,
        "image_folder test": 10,
    }
    numbers = suite.measure(subject)
    assert numbers == {"accuracy/image_folder": 1, "knn_accuracy/image_folder": 1}
    (table,) = suite.tell(numbers)
    assert "<td>image_folder</td><td>100.00%</td><td>100.00%</td>" in table

    numbers = suite.measure(make_subject(constant)._replace(data_dir=folder))
    assert set(numbers.values()) == {0.5}


def test_so_many_examples_are_learned_from(make_subject, folder):
    suite = Transfer(datasets=("image_folder",), examples=6)
    subject = make_subject()._replace(data_dir=folder)
    assert len(suite.sources(subject)["image_folder train"]) == 6


def test_a_data_set_that_is_not_there_is_one_line(make_subject, tmp_path):
    subject = make_subject()._replace(data_dir=str(tmp_path))
    with pytest.raises(UserError, match="cifar10") as error:
        Transfer(datasets=("cifar10",)).check(subject)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="unknown data set 'cifar'"):
        Transfer(datasets=("cifar",)).check(subject)
    with pytest.raises(UserError, match="suite 'transfer' has no data sets"):
        Transfer().check(subject)
