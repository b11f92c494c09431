"""Images whose shape is of one class and whose texture is of another: a conflict of cues.

Geirhos et al., 2019, ImageNet-trained CNNs are biased towards texture (arXiv 1811.12231), asked
networks about 1,280 of them, made by style transfer. github.com/rgeirhos/texture-vs-shape ships
them in the folder stimuli/style-transfer-preprocessed-512, with names that tell both classes. They
are of 16 categories, such as "bird", to which 207 of ImageNet's 1,000 classes belong.
"""

import os
import re
from typing import NamedTuple

import numpy as np

from lens_jax.data import tfds_records
from lens_jax.data.listing import list_images
from lens_jax.data.records import Record, Source, fingerprint
from lens_jax.data.source import open_source
from lens_jax.errors import UserError

# The WordNet ids of each category: helper/human_categories.py of bethgelab/model-vs-human, which
# lists indices of ImageNet's classes, in their usual order.
_WORDNET_IDS = {
    "airplane": """
        n02690373
    """,
    "bear": """
        n02132136 n02133161 n02134084 n02134418
    """,
    "bicycle": """
        n02835271 n03792782
    """,
    "bird": """
        n01514859 n01530575 n01531178 n01532829 n01534433 n01537544 n01558993 n01560419
        n01582220 n01592084 n01601694 n01614925 n01616318 n01622779 n01795545 n01796340
        n01797886 n01798484 n01817953 n01818515 n01819313 n01820546 n01824575 n01828970
        n01829413 n01833805 n01843065 n01843383 n01855032 n01855672 n01860187 n02002556
        n02002724 n02006656 n02007558 n02009229 n02009912 n02011460 n02013706 n02017213
        n02018207 n02018795 n02025239 n02027492 n02028035 n02033041 n02037110 n02051845
        n02056570
    """,
    "boat": """
        n02951358 n03344393 n03662601 n04273569 n04612504
    """,
    "bottle": """
        n02823428 n03937543 n03983396 n04557648 n04560804 n04579145 n04591713
    """,
    "car": """
        n02814533 n03100240 n04285008
    """,
    "cat": """
        n02123045 n02123159 n02123394 n02123597 n02124075 n02125311
    """,
    "chair": """
        n02791124 n03376595 n04099969 n04429376
    """,
    "clock": """
        n02708093 n03196217 n04548280
    """,
    "dog": """
        n02085782 n02085936 n02086079 n02086240 n02086646 n02086910 n02087046 n02087394
        n02088094 n02088238 n02088364 n02088466 n02088632 n02089078 n02089867 n02089973
        n02090379 n02090622 n02090721 n02091032 n02091134 n02091244 n02091467 n02091635
        n02091831 n02092002 n02092339 n02093256 n02093428 n02093647 n02093754 n02093859
        n02093991 n02094114 n02094258 n02094433 n02095314 n02095570 n02095889 n02096051
        n02096294 n02096437 n02096585 n02097047 n02097130 n02097209 n02097298 n02097474
        n02097658 n02098105 n02098286 n02099267 n02099429 n02099601 n02099712 n02099849
        n02100236 n02100583 n02100735 n02100877 n02101006 n02101388 n02101556 n02102040
        n02102177 n02102318 n02102480 n02102973 n02104029 n02104365 n02105056 n02105162
        n02105251 n02105505 n02105641 n02105855 n02106030 n02106166 n02106382 n02106550
        n02106662 n02107142 n02107312 n02107574 n02107683 n02107908 n02108000 n02108422
        n02108551 n02108915 n02109047 n02109525 n02109961 n02110063 n02110185 n02110627
        n02110806 n02110958 n02111129 n02111277 n02111500 n02112018 n02112350 n02112706
        n02113023 n02113624 n02113712 n02113799 n02113978
    """,
    "elephant": """
        n02504013 n02504458
    """,
    "keyboard": """
        n03085013 n04505470
    """,
    "knife": """
        n03041632
    """,
    "oven": """
        n04111531
    """,
    "truck": """
        n03345487 n03417042 n03770679 n03796401 n03930630 n03977966 n04461696 n04467665
    """,
}
CATEGORIES = {name: tuple(ids.split()) for name, ids in _WORDNET_IDS.items()}

# Such as airplane1-bicycle2.png: the shape of an airplane, the texture of a bicycle.
_NAME = re.compile(r"(?P<shape>[a-z]+)\d*-(?P<texture>[a-z]+)\d*\.\w+")
_LAYOUT = "expected files such as airplane/airplane1-bicycle2.png in it"


class CueConflict(NamedTuple):
    """Images with two classes each.

    Attributes:
      source: the images, labeled with the class of their shape.
      textures: the class of each image's texture, int [n].

    """

    source: Source
    textures: np.ndarray


def open_textured(dataset: str, split: str, data_dir: str) -> CueConflict:
    """Opens a split of the data set `textured_glyphs`, or of one configuration of it.

    Raises:
      UserError: it is not there, or it has no feature "texture".

    """
    source = open_source(dataset, split, data_dir)
    textured = open_source(f"{tfds_records.PREFIX}{dataset},label=texture", split, data_dir)
    textures = [textured[index]["label"] for index in range(len(textured))]
    return CueConflict(source, np.array(textures))


def open_stimuli(folder: str) -> CueConflict:
    """Opens the published images in a folder, at any depth; their classes are `CATEGORIES`.

    Raises:
      UserError: there is no such folder, or an image in it whose name does not tell two categories.

    """
    root = os.path.expanduser(folder)
    if not os.path.isdir(root):
        raise UserError(f"no folder of cue-conflict images at {folder!r}: {_LAYOUT}")
    files = list_images(root).images
    if not files:
        raise UserError(f"no cue-conflict images in {root}: {_LAYOUT}")

    class_names = tuple(CATEGORIES)
    labels = []
    words = list(class_names)
    for file in files:
        shape, texture = _parse(file.path)
        labels.append((class_names.index(shape), class_names.index(texture)))
        words += (file.path, str(file.size))
    shapes, textures = np.array(labels).T

    def read(index: int) -> Record:
        path = os.path.join(root, files[index].path)
        with open(path, "rb") as file:
            content = file.read()
        return {"image": content, "label": int(shapes[index]), "name": path}

    source = Source(
        class_names,
        len(files),
        read,
        dataset="cue_conflict",
        folder=root,
        split="all",
        fingerprint=fingerprint(words),
    )
    return CueConflict(source, textures)


def _parse(path: str) -> tuple[str, str]:
    """The categories of shape and texture that the name of a file tells."""
    match = _NAME.fullmatch(os.path.basename(path))
    if match is None or not {match["shape"], match["texture"]} <= set(CATEGORIES):
        raise UserError(
            f"the name of {path!r} does not tell its shape and its texture: {_LAYOUT}, of the "
            f"categories {', '.join(CATEGORIES)}"
        )
    return match["shape"], match["texture"]
