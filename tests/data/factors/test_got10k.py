import pathlib

import numpy as np
import pytest

from lens_jax.data.builders import png
from lens_jax.data.decode import resize
from lens_jax.data.factors.got10k import open_got10k
from lens_jax.data.factors.sets import find_region
from lens_jax.data.regions import WHOLE
from lens_jax.errors import UserError
from tests.data.factors.files import jpeg, names, striped, write

COVERS = {
    "GOT-10k_Train_000001": [8, 8, 8, 5, 5, 3, 3, 3],
    "GOT-10k_Train_000002": [8, 8, 7, 6, 5, 8],  # hidden too little
    "GOT-10k_Train_000003": [0, 2, 2, 4, 4, 8],
    "GOT-10k_Train_000004": [4, 4, 8, 8, 6, 4],
}


@pytest.fixture
def got10k(tmp_path) -> pathlib.Path:
    root = tmp_path / "train"
    write(root / "list.txt", "\n".join([*COVERS, "GOT-10k_Train_000005"]) + "\n")
    for number, (video, cover) in enumerate(COVERS.items()):
        boxes = [f"{10.0 + frame},5.0,20.0,30.0" for frame in range(len(cover))]
        for frame in range(len(cover)):
            write(root / video / f"{frame + 1:08}.jpg", jpeg(10 * number + frame))
        write(root / video / "groundtruth.txt", "\n".join(boxes) + "\n")
        write(root / video / "cover.label", "\n".join(map(str, cover)) + "\n")
        lines = ("[METAINFO]", "url: https://a:1", f"object_class: polar bear {number % 2}")
        write(root / video / "meta_info.ini", "\n".join(lines) + "\nmotion_class: object_class\n")
    # Without labels, a video is left out.
    write(root / "GOT-10k_Train_000005" / "groundtruth.txt", "1,2,3,4\n")
    return root


def test_the_frames_of_got10k_are_those_that_the_authors_draw(got10k):
    expected = []
    np.random.seed(1992)
    for number, (video, cover) in enumerate(COVERS.items()):
        if max(cover) - min(cover) < 4:
            continue
        for level in np.unique(cover):
            frame = np.random.choice(np.where(np.array(cover) == level)[0])
            expected.append((f"{video}/{frame + 1:08}.jpg", number))
    images = open_got10k(str(got10k))["occlusion"]
    assert list(zip(names(images), images.sets.tolist(), strict=True)) == expected
    assert len(expected) == 3 + 4 + 3


def test_objects_of_got10k_are_cut_out_and_named(got10k):
    source, sets = open_got10k(str(got10k))["occlusion"]
    assert source.class_names == ("polar bear 0", "polar bear 1")
    # The fourth video is of class 1, the others are of class 0.
    assert [source[i]["label"] for i in range(len(source))] == (sets == 3).astype(int).tolist()
    for index in range(len(source)):
        record = source[index]
        frame = int(pathlib.Path(record["name"]).stem) - 1
        box = (5 / 40, (10 + frame) / 60, 35 / 40, (30 + frame) / 60)
        assert record["region"] == pytest.approx(box)
        cut = resize(record["image"], 20, region=record["region"])
        middle = cut[10, 10].astype(int)
        # Red is twice the column.
        assert middle[0] == pytest.approx(2 * (10 + frame + 10), abs=6)


def test_boxes_are_cut_off_at_the_border_and_broken_images_are_left_to_the_decoder():
    image = png.encode(striped(0))
    assert find_region(image, (-6, 30, 36, 100)) == (0.75, 0, 1, 0.5)
    assert find_region(b"no image", (1, 2, 3, 4)) == WHOLE


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("list.txt", None, "cannot read list.txt in .*: No such file .*; expected the training"),
        ("list.txt", "../train\n", "list.txt in .* names '../train', which is no name of a file"),
        ("list.txt", "GOT-10k_Train_000002\n", "no video in .* hides its object to 4 degrees"),
        ("GOT-10k_Train_000001/cover.label", "8\nx\n", "is no list of whole numbers"),
        ("GOT-10k_Train_000001/cover.label", "8\n1\n", "has 8 boxes and 2 lines in cover.label"),
        ("GOT-10k_Train_000001/groundtruth.txt", "1,2,3\n" * 8, "has the line '1,2,3': expected"),
        ("GOT-10k_Train_000001/meta_info.ini", "[METAINFO]\n", "has no line object_class"),
        ("GOT-10k_Train_000001/00000004.jpg", None, "unpack the data set again"),
    ],
)
def test_a_damaged_got10k_is_one_line(got10k, file: str, content: str | None, words: str):
    path = got10k / file
    if content is None:
        path.unlink()
        # Either frame may be the one that is drawn.
        (got10k / "GOT-10k_Train_000001" / "00000005.jpg").unlink()
    else:
        write(path, content)
    with pytest.raises(UserError, match=words) as error:
        open_got10k(str(got10k))
    assert "\n" not in str(error.value)
