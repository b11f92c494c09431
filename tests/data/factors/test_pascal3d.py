import pathlib

import numpy as np
import pytest
from scipy import io

from lens_jax.data.factors.pascal3d import open_pascal3d
from lens_jax.errors import UserError
from tests.data.factors.files import jpeg, names, write


def annotation(*objects: tuple[float, float]) -> dict:
    """An annotation of objects by azimuth and elevation, as MATLAB has it; boxes differ."""
    fields = ["class", "bbox", "viewpoint"]
    records = np.zeros((1, len(objects)), dtype=[(name, object) for name in fields])
    for number, (azimuth, elevation) in enumerate(objects):
        viewpoint = {"azimuth_coarse": azimuth, "elevation_coarse": elevation}
        records[0, number] = ("car", np.array([[5, 10, 25 + number, 30]], np.uint8), viewpoint)
    return {"record": {"filename": "some.jpg", "objects": records}}


def write_pascal3d(root: pathlib.Path) -> None:
    poses = {
        # Of ImageNet: name, azimuth, elevation.
        "car": [("c0", 10, 10), ("c1", 190, -80), ("c2", 20, 5), ("c3", 45, 10), ("c4", 359, 0)],
        "boat": [("b0", 10, 10), ("b1", 100, 10), ("b2", 100, 10), ("b3", 10, 40)],
    }
    for category, images in poses.items():
        rows = [name for name, _, _ in images]
        write(root / "Image_sets" / f"{category}_imagenet_train.txt", "\n".join(rows[:3]) + "\n")
        write(root / "Image_sets" / f"{category}_imagenet_val.txt", "\n".join(rows[3:]) + "\n")
        for name, azimuth, elevation in images:
            folder = f"{category}_imagenet"
            write(root / "Images" / folder / f"{name}.JPEG", jpeg(0))
            write_annotation(root, f"{folder}/{name}", (azimuth, elevation))
        # Of PASCAL VOC: an image with two objects, both of which are listed.
        write(root / "Image_sets" / f"{category}_pascal.txt", "2008_1 0\n2008_1 1\n")
        write(root / "Images" / f"{category}_pascal" / "2008_1.jpg", jpeg(0))
        write_annotation(root, f"{category}_pascal/2008_1", (15, 12), (195, 3))


def write_annotation(root: pathlib.Path, path: str, *objects: tuple[float, float]) -> None:
    file = root / "Annotations" / f"{path}.mat"
    file.parent.mkdir(parents=True, exist_ok=True)
    io.savemat(file, annotation(*objects))


@pytest.fixture
def pascal3d(tmp_path) -> pathlib.Path:
    root = tmp_path / "PASCAL3D+_release1.1"
    write_pascal3d(root)
    return root


def grouped(images) -> list[list[str]]:
    """The names of the images of each set, sorted."""
    found = {}
    for index, number in enumerate(images.sets.tolist()):
        path = pathlib.Path(images.source[index]["name"])
        found.setdefault(number, []).append(path.stem)
    return sorted(sorted(group) for group in found.values())


def test_instances_of_pascal3d_are_seen_from_one_side(pascal3d):
    images = open_pascal3d(str(pascal3d))["instance"]
    # By category, azimuth modulo 180 and elevation modulo 90, in parts of 30 degrees: 190 and 10
    # are one side, and -80 is 10. 359 is 179.
    assert grouped(images) == [
        ["2008_1", "2008_1", "b0"],
        ["2008_1", "2008_1", "c0", "c1", "c2"],
        ["b1", "b2"],
        ["b3"],
        ["c3"],
        ["c4"],
    ]
    assert images.source.class_names == ("boat", "car")
    assert names(images)[0] == "boat_imagenet/b0.JPEG"


def test_sets_of_all_views_of_pascal3d_have_one_image_of_each_azimuth(pascal3d):
    found = open_pascal3d(str(pascal3d))
    images = found["instance_viewpoint"]
    # The first images at 10 and 100 degrees, the second ones, and so on, those of VOC last.
    assert grouped(images) == [
        ["2008_1"],
        ["2008_1"],
        ["2008_1"],
        ["2008_1"],
        ["b0", "b1"],
        ["b2", "b3"],
        ["c0", "c3", "c4"],
        ["c1"],
        ["c2"],
    ]
    # Both factors have the same images.
    assert images.source.fingerprint == found["instance"].source.fingerprint


def test_each_object_of_pascal3d_has_a_box_of_its_own(pascal3d):
    source = open_pascal3d(str(pascal3d))["instance"].source
    regions = [source[i]["region"] for i in range(len(source))]
    assert regions[0] == pytest.approx((10 / 40, 5 / 60, 30 / 40, 25 / 60))
    assert regions[5] == pytest.approx((10 / 40, 5 / 60, 30 / 40, 26 / 60))
    assert source.boxes == "each"


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("Annotations/car_imagenet/c2.mat", b"no such file", "cannot read object 0 of .*c2.mat"),
        ("Annotations/car_imagenet/c2.mat", None, "cannot read object 0 of .*c2.mat"),
        ("Images/car_imagenet/c2.JPEG", None, "cannot read Images/car_imagenet/c2.JPEG in"),
        ("Image_sets/car_pascal.txt", None, "cannot read Image_sets/car_pascal.txt in"),
        ("Image_sets/car_pascal.txt", "2008_1 2\n", "cannot read object 2 of .*2008_1.mat"),
        ("Image_sets/car_pascal.txt", "2008_1 one\n", "has the line '2008_1 one': expected NAME"),
        ("Image_sets/car_pascal.txt", "../../x 0\n", "names '../../x', which is no name of a file"),
    ],
)
def test_a_damaged_pascal3d_is_one_line(pascal3d, file: str, content, words: str):
    path = pascal3d / file
    if content is None:
        path.unlink()
    else:
        write(path, content)
    with pytest.raises(UserError, match=words) as error:
        open_pascal3d(str(pascal3d))
    assert "\n" not in str(error.value)


def test_a_folder_without_categories_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"no category in .*: expected the folder of PASCAL3D"):
        open_pascal3d(str(tmp_path))
