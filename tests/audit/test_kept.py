import json

import numpy as np
import pytest

from lens_jax.audit import kept
from lens_jax.audit.folder import choose_images, open_folder
from lens_jax.audit.reading import read_folder


def test_a_result_is_read_under_its_key_alone(tmp_path):
    output = str(tmp_path / "audit")
    kept.write_result(output, "maps", "key", {"name\udcff": [1.5]})
    assert kept.read_result(output, "maps", "key") == {"name\udcff": [1.5]}
    assert kept.read_result(output, "maps", "other key") is None
    assert kept.read_result(output, "probes", "key") is None


@pytest.mark.parametrize("text", ["", "[1]", '{"key": "key"', '{"format": 0, "key": "key"}'])
def test_a_damaged_or_older_result_is_computed_again(tmp_path, text):
    output = str(tmp_path)
    kept.write_result(output, "maps", "key", {})
    (tmp_path / "parts" / "maps.json").write_text(text)
    assert kept.read_result(output, "maps", "key") is None


def test_a_reading_is_the_same_when_it_was_kept(textures, write_folder, tmp_path):
    folder = open_folder(str(write_folder(textures(6), ("a", "b"))))
    reading = read_folder(folder, choose_images(folder, seed=0))
    output = str(tmp_path / "audit")
    result = json.loads(json.dumps(kept.write_reading(output, reading)))
    loaded = kept.load_reading(output, result)
    assert loaded.columns == reading.columns
    np.testing.assert_array_equal(loaded.kept, reading.kept)
    np.testing.assert_array_equal(loaded.small, reading.small)
    assert loaded.statistics.keys() == reading.statistics.keys()
    for name, values in reading.statistics.items():
        np.testing.assert_array_equal(loaded.statistics[name], values)
