import hashlib
import pathlib

import pytest
import tensorflow_datasets as tfds
from etils import epath

from lens_jax.data import source, video
from lens_jax.data.builders import youtube8m_frames as frames
from lens_jax.data.builders.bucket import BucketWriter
from lens_jax.data.decode import decode
from lens_jax.data.selection import Selection
from lens_jax.errors import UserError
from tests.clips import level, write_clip

SAMPLING = video.Sampling(2, "fps", 32)
KINDS = (".mp4", ".webm", ".mp4", ".mkv")
CODECS = ("libx264", "libvpx-vp9", "mpeg4", "libx264")
# By the hash of its id, the last one is a validation video.
IDS = ("-a_1", "b2", "c3", "video13")


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> pathlib.Path:
    """Four clips of 2 seconds, one file that is no video and one that is no concern of ours."""
    folder = tmp_path_factory.mktemp("videos")
    for name, suffix, codec in zip(IDS, KINDS, CODECS, strict=True):
        write_clip(folder / f"{name}{suffix}", 16, codec=codec)
    (folder / "broken.mp4").write_bytes((folder / "b2.webm").read_bytes()[:300])
    (folder / "notes.txt").write_text("no video")
    return folder


def refuse(*arguments) -> str:
    with pytest.raises(UserError) as caught:
        frames.prepare(*arguments, SAMPLING)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def refused_labels(tmp_path: pathlib.Path, videos: pathlib.Path, text: str) -> str:
    """The message about a labels file, of which nothing must have been written."""
    (tmp_path / "labels.csv").write_text(text)
    found = refuse(str(videos), str(tmp_path / "labels.csv"), str(tmp_path / "data"))
    assert not (tmp_path / "data").exists()
    return found


def records(data: pathlib.Path, split: str, name: str = "youtube8m_frames") -> list:
    opened = source.open_source(name, split, str(data))
    return [opened[i] for i in range(len(opened))]


def test_frames_with_their_videos_times_and_labels(videos, tmp_path, capsys):
    (tmp_path / "labels.csv").write_text("id,label,more\nb2,dog,1\nvideo13,cat,2\n-a_1,dog,3\n\n")
    data = tmp_path / "data"
    frames.prepare(str(videos), str(tmp_path / "labels.csv"), str(data), SAMPLING)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "skipped 1 of 5 videos, which do not decode: broken.mp4"
    path = data / "youtube8m_frames" / "2fps-32" / "1.0.0"
    assert lines[-1] == f"{path} holds 12 in train, 4 in validation, of 4 videos"
    opened = source.open_source("youtube8m_frames", "train", str(data))
    assert opened.class_names == ("cat", "dog", "unlabeled")

    labels = {"-a_1": 1, "b2": 1, "c3": 2, "video13": 0}
    found = {}
    for split in frames.SPLITS:
        for index, record in enumerate(records(data, split)):
            position, name, _, number, _, seconds, _ = record["name"].rsplit(maxsplit=6)
            image = decode(record["image"])
            assert position == f"youtube8m_frames/2fps-32/1.0.0 {split}[{index}]"
            assert record["label"] == labels[name]
            assert image.shape == (32, 43, 3)
            found[name, int(number)] = (split, float(seconds), level(image))

    expected = {}
    for name in IDS:
        split = "validation" if name == "video13" else "train"
        for number in range(4):
            expected[name, number] = (split, number / 2, 4 * number % 8)
    assert found == expected


def test_several_ways_lie_side_by_side_and_have_to_be_named_in_full(videos, tmp_path):
    data = tmp_path / "data"
    frames.prepare(str(videos), "", str(data), SAMPLING)
    assert "2fps-32/1.0.0 is there already" in refuse(str(videos), "", str(data))
    frames.prepare(str(videos), "", str(data), video.Sampling(1, "frames", 32))
    with pytest.raises(UserError) as caught:
        source.open_source("youtube8m_frames", "train", str(data))
    ways = "youtube8m_frames/1frames-32, youtube8m_frames/2fps-32"
    message = f"youtube8m_frames is prepared in 2 ways in {data}: use one of {ways}"
    assert str(caught.value) == message
    assert len(records(data, "train", "youtube8m_frames/1frames-32")) == 3
    assert len(records(data, "train", "youtube8m_frames/2fps-32")) == 12
    opened = source.open_source("youtube8m_frames/2fps-32", "train", str(data))
    assert opened.class_names == ("unlabeled",)


def test_the_split_is_a_function_of_the_id_and_one_in_20_is_held_out():
    held_out = 0
    for index in range(4000):
        name = f"video{index}"
        digest = hashlib.sha256(name.encode()).hexdigest()
        is_held_out = int(digest[:16], 16) % 20 == 0
        assert frames.split_of(name) == ("validation" if is_held_out else "train")
        held_out += is_held_out
    # Four standard deviations of a binomial.
    assert abs(held_out - 200) < 56


def test_beam_makes_the_same_examples(videos, tmp_path):
    pytest.importorskip("apache_beam", reason="the extra `beam` is not installed")
    frames.prepare(str(videos), "", str(tmp_path / "plain"), SAMPLING)
    frames.prepare(str(videos), "", str(tmp_path / "beam"), SAMPLING, ["--runner=FnApiRunner"])
    for split in frames.SPLITS:
        assert records(tmp_path / "beam", split) == records(tmp_path / "plain", split)


def test_shards_on_their_way_to_a_bucket_are_those_written_directly(tmp_path):
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    examples = [(index, bytes([index]) * 100) for index in range(20)]
    BucketWriter(tfds.core.FileFormat.ARRAY_RECORD).write(
        epath.Path(tmp_path / "shard"), iter(examples)
    )
    rows = ArrayRecordDataSource(str(tmp_path / "shard"))
    assert [rows[i] for i in range(len(rows))] == [data for _, data in examples]


def test_a_folder_without_videos_is_refused(tmp_path):
    folder, data = tmp_path / "videos", tmp_path / "data"

    def text() -> str:
        return refuse(str(folder), "", str(data))

    assert text() == f"no folder of videos at {str(folder)!r}: set --source to one"
    folder.mkdir()
    assert text().startswith(f"no videos in {folder}: expected ID.3gp")
    (folder / "a.mp4").write_bytes(b"junk")
    assert text().startswith("none of 1 videos decodes (a.mp4)")
    (folder / "a.webm").write_bytes(b"junk")
    assert text() == f"{folder}/a.mp4 and a.webm have one id: keep one of them"
    assert not data.exists()


def test_labels_of_unknown_videos_are_refused(videos, tmp_path):
    rows = "".join(f"x{i:02d},dog\n" for i in range(12))
    text = refused_labels(tmp_path, videos, f"id,label\nb2,dog\n../b2,dog\n{rows}")
    named = ", ".join(f"x{i:02d}" for i in range(9))
    assert f"names ../b2, {named} and 3 more, which are not in {videos}" in text


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "1: expected the header 'id,label'"),
        ("b2,dog\n", "1: expected the header 'id,label'"),
        ("id,label\nb2,dog\nc3\n", "3: expected 'id,label', not 'c3'"),
        ("id,label\nb2,\n", "2: expected 'id,label', not 'b2,'"),
        ("id,label\nb2,dog\nb2,cat\n", "3: second line for id 'b2'"),
    ],
)
def test_malformed_labels_are_named_with_their_line(text, wrong, videos, tmp_path):
    assert f"labels.csv:{wrong}" in refused_labels(tmp_path, videos, text)


def test_labels_that_are_not_there_are_refused(videos, tmp_path):
    assert "cannot read labels 'nowhere.csv'" in refuse(str(videos), "nowhere.csv", str(tmp_path))


def test_frames_of_one_video_are_paired(videos, tmp_path):
    data = str(tmp_path)
    frames.prepare(str(videos), "", data, SAMPLING)
    for distance, count in ((1, 9), (3, 3)):
        selection = Selection(pairs="frames", distance=distance)
        opened = source.open_source("youtube8m_frames", "train", data, selection=selection)
        assert len(opened) == count
        for index in range(count):
            pair = opened[index], opened.read_partner(index)
            names = [record["name"].split() for record in pair]
            assert names[0][2] == names[1][2]
            # Two frames a second.
            seconds = [float(words[-2]) for words in names]
            assert seconds[1] - seconds[0] == pytest.approx(distance / 2)
    selection = Selection(pairs="frames", distance=4)
    with pytest.raises(UserError, match="4 frames apart in one of its 3 videos"):
        source.open_source("youtube8m_frames", "train", data, selection=selection)
