"""Regions of frames that are followed through a video by their features.

Purushwalkam and Gupta (2020, arXiv 2007.13916) train on tracked regions; how they propose and match
them is not in the text that we know. This is our own reading: the regions are windows of three
sizes on a grid, one is linked with another in the next frame where each is the nearest of the other
by the features of a trained network, and tracks whose links are long on average are dropped.
"""

import numpy as np

# Sides of the windows, as fractions of the frame's; two neighbors overlap by half.
SIDES = (1 / 3, 1 / 2, 2 / 3)
NO_TRACK = -1


def make_windows() -> np.ndarray:
    """The windows in which a frame is looked at: top, left, bottom and right, [38, 4]."""
    windows = []
    for side in SIDES:
        last = 1 - side
        steps = round(2 * last / side)
        starts = np.linspace(0, last, steps + 1)
        for top in starts:
            for left in starts:
                windows.append((top, left, top + side, left + side))
    # Fractions that do not add up to 1 exactly.
    return np.minimum(windows, 1.0)


def link(features: np.ndarray, max_distance: float) -> np.ndarray:
    """Follows regions from frame to frame.

    Region p of a frame and region q of the next one are linked where q is the nearest of p and p
    the nearest of q, by the distance 1 - cos. So no two tracks meet, and one may begin and end
    anywhere.

    Args:
      features: [F, P, d] of P regions in each of F frames.
      max_distance: the largest mean distance of the links of a track, in [0, 2].

    Returns:
      The track of each region, int [F, P], from 0 upwards; `NO_TRACK` for one that was not linked
      or whose track was dropped.

    """
    frames, regions, _ = features.shape
    lengths = np.linalg.norm(features, axis=-1, keepdims=True)
    units = features / np.where(lengths == 0, 1, lengths)

    # Every region begins a track of its own, unless one of the frame before goes on in it.
    total = frames * regions
    tracks = np.arange(total).reshape(frames, regions)
    links = np.zeros(total, int)
    sums = np.zeros(total)
    for frame in range(1, frames):
        before, now = units[frame - 1 : frame + 1]
        distances = 1 - before @ now.T
        rows, columns = mutual_nearest(distances)
        followed = tracks[frame - 1, rows]
        tracks[frame, columns] = followed
        links[followed] += 1
        sums[followed] += distances[rows, columns]

    # Numbers without gaps for the tracks that are left.
    is_strong = sums <= max_distance * links
    is_kept = is_strong & (links > 0)
    numbers = np.cumsum(is_kept) - 1
    numbers[~is_kept] = NO_TRACK
    return numbers[tracks]


def mutual_nearest(distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows and columns of a matrix that are each the nearest of the other, int [m] both."""
    nearest_column = np.argmin(distances, axis=1)
    nearest_row = np.argmin(distances, axis=0)
    rows = np.arange(len(distances))
    is_mutual = nearest_row[nearest_column] == rows
    return rows[is_mutual], nearest_column[is_mutual]
