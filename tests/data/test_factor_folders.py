"""Readers of ALOI, GOT-10K and PASCAL3D+ on small folders of the form that their sites ship."""

import pathlib

import cv2
import numpy as np
import pytest
from scipy import io

from lens_jax.data.builders import png
from lens_jax.data.decode import resize
from lens_jax.data.factors import open_factors
from lens_jax.data.factors.aloi import open_aloi
from lens_jax.data.factors.got10k import open_got10k
from lens_jax.data.factors.pascal3d import open_pascal3d
from lens_jax.data.factors.sets import find_region
from lens_jax.data.regions import WHOLE
from lens_jax.errors import UserError

HEIGHT, WIDTH = 40, 60


def write(path: pathlib.Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def striped(value: int) -> np.ndarray:
    """Gray from 0 to 118 from left to right, with a value in green."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 0] = 2 * np.arange(WIDTH)
    image[..., 1] = value
    return image


def jpeg(value: int) -> bytes:
    quality = [cv2.IMWRITE_JPEG_QUALITY, 100]
    _, data = cv2.imencode(".jpg", striped(value)[..., ::-1], quality)
    return data.tobytes()


def names(images) -> list[str]:
    """The last two parts of the paths of all images."""
    source = images.source
    return ["/".join(pathlib.Path(source[i]["name"]).parts[-2:]) for i in range(len(source))]


# ALOI


@pytest.fixture
def aloi(tmp_path) -> pathlib.Path:
    """Objects 1, 2 and 10, with four viewpoints, three directions of light, and three colors."""
    root = tmp_path / "png2"
    for number in (1, 2, 10):
        for ending in ("r0", "r5", "r10", "r355", "l1c1", "l8c3", "l2c2", "i110", "i250", "i120"):
            write(root / str(number) / f"{number}_{ending}.png", png.encode(striped(number)))
    write(root / "1" / "Thumbs.db", "")
    write(root / "readme.txt", "")
    return root


def test_each_object_of_aloi_is_a_set_and_a_class(aloi):
    found = open_aloi(str(aloi))
    assert {factor: len(images.sets) for factor, images in found.items()} == {
        "viewpoint": 12,
        "illumination_direction": 9,
        "illumination_color": 9,
    }
    color = found["illumination_color"]
    assert names(color)[:4] == ["1/1_i110.png", "1/1_i120.png", "1/1_i250.png", "2/2_i110.png"]
    np.testing.assert_array_equal(color.sets, [1] * 3 + [2] * 3 + [10] * 3)
    classes = [color.source.class_names[color.source[i]["label"]] for i in range(9)]
    assert classes == ["1"] * 3 + ["2"] * 3 + ["10"] * 3
    assert color.source[0]["image"] == png.encode(striped(1))
    assert len({images.source.fingerprint for images in found.values()}) == 3


def test_one_archive_of_aloi_is_one_factor(aloi):
    for path in aloi.glob("*/*_[il]*.png"):
        path.unlink()
    assert list(open_aloi(str(aloi))) == ["viewpoint"]
    for path in aloi.glob("*/*.png"):
        path.unlink()
    with pytest.raises(UserError, match=r"no images of ALOI in .*: expected the folder png2"):
        open_aloi(str(aloi))


def test_sets_of_two_images_are_refused(aloi):
    for path in (*aloi.glob("*/*_l1c1.png"), *aloi.glob("*/*_r*.png"), *aloi.glob("*/*_i*.png")):
        path.unlink()
    with pytest.raises(UserError, match="no set of 3 images for illumination_direction"):
        open_factors("aloi", str(aloi), 32)


# GOT-10K

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


# PASCAL3D+


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
