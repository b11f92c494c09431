"""The losses as loops over rows, in NumPy and float64, the way their formulas are written."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

Triplet = tuple[int, int, int]


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Each row of [N, f] at length 1."""
    lengths = [math.sqrt(np.dot(row, row)) for row in rows]
    return rows / np.array(lengths)[:, None]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    squares = np.dot(a, a) * np.dot(b, b)
    return np.dot(a, b) / math.sqrt(squares)


def squared_distance(a: np.ndarray, b: np.ndarray) -> float:
    difference = a - b
    return np.dot(difference, difference)


def softmax_loss(similarities: Mapping[int, float], partner: int, temperature: float) -> float:
    """-log of the partner's probability in the softmax of the similarities / temperature."""
    largest = max(similarities.values())
    total = 0.0
    for similarity in similarities.values():
        total += math.exp((similarity - largest) / temperature)
    return math.log(total) - (similarities[partner] - largest) / temperature


def nt_xent(
    first: np.ndarray, second: np.ndarray, temperature: float
) -> tuple[list[float], list[bool]]:
    """The losses and hits of the 2N rows, those of `first` before those of `second`."""
    rows = [*first, *second]
    losses, hits = [], []
    for i, row in enumerate(rows):
        partner = (i + len(first)) % len(rows)
        similarities = {}
        for k, other in enumerate(rows):
            if k != i:
                similarities[k] = cosine(row, other)
        losses.append(softmax_loss(similarities, partner, temperature))
        hits.append(max(similarities, key=similarities.get) == partner)
    return losses, hits


def info_nce(
    queries: np.ndarray, keys: np.ndarray, negatives: np.ndarray, temperature: float
) -> tuple[list[float], list[bool]]:
    """The losses and hits of the queries; all rows are taken as they are."""
    losses, hits = [], []
    for query, key in zip(queries, keys, strict=True):
        similarities = {-1: np.dot(query, key)}
        for k, negative in enumerate(negatives):
            similarities[k] = np.dot(query, negative)
        losses.append(softmax_loss(similarities, -1, temperature))
        hits.append(max(similarities, key=similarities.get) == -1)
    return losses, hits


def nce(
    queries: np.ndarray,
    keys: np.ndarray,
    negatives: np.ndarray,
    temperature: float,
    log_mean: float,
) -> tuple[list[float], list[bool]]:
    """The losses and hits of the queries, for rows out of a memory of 1000."""
    memory = 1000
    constant = memory * math.exp(log_mean)
    noise = len(negatives) / memory
    losses, hits = [], []
    for query, key in zip(queries, keys, strict=True):
        similarity = np.dot(query, key)
        probability = math.exp(similarity / temperature) / constant
        loss = -math.log(probability / (probability + noise))
        hit = True
        for negative in negatives:
            to_negative = np.dot(query, negative)
            probability = math.exp(to_negative / temperature) / constant
            loss -= math.log(noise / (probability + noise))
            hit = hit and similarity > to_negative
        losses.append(loss)
        hits.append(hit)
    return losses, hits


def log_mean_exp(
    queries: np.ndarray, keys: np.ndarray, negatives: np.ndarray, temperature: float
) -> float:
    """Of the similarities of all queries with their keys and with all negatives."""
    total, count = 0.0, 0
    for query, key in zip(queries, keys, strict=True):
        for row in (key, *negatives):
            total += math.exp(np.dot(query, row) / temperature)
            count += 1
    return math.log(total / count)


def cross_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of the columns of [N, f] each, one pair of them after the other: [f, f]."""
    count, width = first.shape
    found = np.zeros((width, width))
    for i in range(width):
        for j in range(width):
            a, b = first[:, i], second[:, j]
            mean_a, mean_b = sum(a) / count, sum(b) / count
            variance_a = sum((x - mean_a) ** 2 for x in a) / count
            variance_b = sum((x - mean_b) ** 2 for x in b) / count
            covariance = 0.0
            for x, y in zip(a, b, strict=True):
                covariance += (x - mean_a) * (y - mean_b) / count
            found[i, j] = covariance / math.sqrt((variance_a + 1e-5) * (variance_b + 1e-5))
    return found


def barlow_twins(first: np.ndarray, second: np.ndarray, off_diagonal: float, scale: float) -> float:
    """The loss, one correlation after the other."""
    found = cross_correlation(first, second)
    total = 0.0
    for i, row in enumerate(found):
        for j, correlation in enumerate(row):
            if i == j:
                total += (1 - correlation) ** 2
            else:
                total += off_diagonal * correlation**2
    return scale * total


def negative_cosine(predictions: np.ndarray, targets: np.ndarray) -> list[float]:
    """2 - 2 cos of each pair of rows."""
    return [2 - 2 * cosine(p, t) for p, t in zip(predictions, targets, strict=True)]


def semi_hard_triplets(rows: np.ndarray, labels: Sequence[int]) -> list[Triplet]:
    """(anchor, positive, negative) for every pair of one label, the negative by its definition."""
    triplets = []
    for anchor, label in enumerate(labels):
        to_others = [squared_distance(rows[anchor], row) for row in rows]
        positives = [p for p in range(len(rows)) if labels[p] == label and p != anchor]
        negatives = [n for n in range(len(rows)) if labels[n] != label]
        for positive in positives:
            semi_hard = [n for n in negatives if to_others[n] > to_others[positive]]
            if semi_hard:
                negative = min(semi_hard, key=to_others.__getitem__)
            else:
                negative = max(negatives, key=to_others.__getitem__)
            triplets.append((anchor, positive, negative))
    return triplets


def triplet_losses(rows: np.ndarray, labels: Sequence[int], margin: float) -> list[float]:
    """The hinge of every semi-hard triplet."""
    losses = []
    for a, p, n in semi_hard_triplets(rows, labels):
        to_positive = squared_distance(rows[a], rows[p])
        to_negative = squared_distance(rows[a], rows[n])
        losses.append(max(0.0, margin + to_positive - to_negative))
    return losses


def nearest_neighbor_hits(rows: np.ndarray, labels: Sequence[int]) -> list[bool]:
    """Whether the nearest other row has the row's label."""
    hits = []
    for i, row in enumerate(rows):
        distances = [squared_distance(row, other) for other in rows]
        distances[i] = math.inf
        nearest = distances.index(min(distances))
        hits.append(labels[nearest] == labels[i])
    return hits


def gradient(value: Callable[[np.ndarray], float], x: np.ndarray) -> np.ndarray:
    """The gradient of a value in x by central differences, good to about eight digits."""
    step = 1e-6  # smaller ones lose more to rounding than they gain in the formula
    found = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()
        above[place] += step
        below[place] -= step
        found[place] = (value(above) - value(below)) / (2 * step)
    return found


def standard_deviation(rows: np.ndarray) -> float:
    """sqrt(f) times the mean of the columns' standard deviations, of rows of length 1."""
    columns = unit_rows(rows).T
    total = 0.0
    for column in columns:
        mean = sum(column) / len(column)
        variance = sum((x - mean) ** 2 for x in column) / len(column)
        total += math.sqrt(variance)
    return math.sqrt(len(columns)) * total / len(columns)


def alignment(first: np.ndarray, second: np.ndarray) -> float:
    """The mean squared distance of partners, of rows of length 1."""
    pairs = zip(unit_rows(first), unit_rows(second), strict=True)
    distances = [squared_distance(a, b) for a, b in pairs]
    return sum(distances) / len(distances)


def uniformity(rows: np.ndarray) -> float:
    """The logarithm of the mean of exp(-2 distance^2) over all pairs i < j."""
    units = unit_rows(rows)
    potentials = []
    for j, row in enumerate(units):
        for other in units[:j]:
            potentials.append(math.exp(-2 * squared_distance(row, other)))
    return math.log(sum(potentials) / len(potentials))


def participation_rank(rows: np.ndarray) -> float:
    """1 over the mean squared cosine of all pairs, each row with itself among them."""
    squares = [cosine(row, other) ** 2 for row in rows for other in rows]
    return len(squares) / sum(squares)


def spectrum(rows: np.ndarray) -> list[float]:
    """The squared singular values, largest first: the eigenvalues of the smaller product."""
    product = rows.T @ rows if rows.shape[1] < len(rows) else rows @ rows.T
    return sorted(np.linalg.eigvalsh(product), reverse=True)


def rankme(rows: np.ndarray) -> float:
    """exp of the entropy of the singular values, with 1e-7 added to each part."""
    singular = [math.sqrt(square) for square in spectrum(rows)]
    entropy = 0.0
    for value in singular:
        part = value / sum(singular) + 1e-7
        entropy -= part * math.log(part)
    return math.exp(entropy)


def alpha_req(rows: np.ndarray, first: int) -> float:
    """The slope of -log eigenvalue by log rank, from a rank to the 100th, weighed by 1 / rank."""
    centered = rows - sum(rows) / len(rows)
    normal = np.zeros((2, 2))
    right = np.zeros(2)
    for rank, eigenvalue in enumerate(spectrum(centered), start=1):
        if first <= rank <= 100:
            row = np.array([math.log(rank), 1.0])
            normal += np.outer(row, row) / rank
            right += row * -math.log(eigenvalue) / rank
    slope, _ = np.linalg.solve(normal, right)
    return slope


def weighted_neighbors(
    bank: np.ndarray,
    labels: np.ndarray,
    queries: np.ndarray,
    classes: int,
    neighbors: int,
    temperature: float,
) -> np.ndarray:
    """The weight of each class among the nearest labeled rows, of largest cosine."""
    totals = np.zeros((len(queries), classes))
    for query, total in zip(queries, totals, strict=True):
        found = []
        for row, label in zip(bank, labels, strict=True):
            if label >= 0:
                found.append((cosine(query, row), label))
        found.sort(reverse=True)
        for similarity, label in found[:neighbors]:
            total[label] += math.exp(similarity / temperature)
    return totals
