"""How much of the demo's hidden taste can be read off the teacher's features by a straight line.

    build/release/cskd demo runs/demo/corpus
    .venv/bin/python tests/demo/probe_teacher.py runs/demo/corpus

A ridge regression predicts the mean rating of the rated pictures from the teacher's pooled features, from simple
statistics of the pixels, and from the features of a random network of the teacher's shape. It is fitted on the training
ids, its strength chosen by cross-validation among them; printed are Spearman correlations on the test ids with 95 %
bootstrap intervals; then those of the teacher's features with 99 training ids, the mean of five draws, and with the
factors of the hidden taste in place of the rating.
"""

import argparse
import csv
import pathlib

import numpy as np
import torch
from scipy.stats import spearmanr
from statistics_of_images import image_statistics
from teacher_network import WEIGHTS, VisualTower, load_teacher, pixels_of, pooled_features

STRENGTHS = np.logspace(-2, 5, 22)
FOLDS = 5
FEW = 99
FACTORS = ("composition", "harmony", "sharpness", "exposure", "calm", "contrast")


def rated_pictures(corpus):
    """Paths, mean ratings and whether it is a test id, of the rated pictures that open."""
    rated = corpus / "rated"
    test = set((rated / "aesthetics_image_lists/generic_test.jpgl").read_text().split())
    paths, means, is_test = [], [], []
    for line in (rated / "AVA.txt").read_text().splitlines():
        _, name, *counts = line.split()[:12]
        path = rated / f"images/{name}.jpg"
        try:
            pixels_of(path)
        except OSError:  # planted: missing or truncated
            continue
        counts = np.array(counts, dtype=float)
        paths.append(path)
        means.append(counts @ np.arange(1, 11) / counts.sum())
        is_test.append(name in test)
    return paths, np.array(means), np.array(is_test)


def ridge(features, scores, strength):
    """Weights of the standardised features and what turns features into predictions."""
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-9
    design, offset = (features - mean) / spread, scores.mean()
    weights = np.linalg.solve(design.T @ design + strength * np.eye(design.shape[1]), design.T @ (scores - offset))
    return lambda others: (others - mean) / spread @ weights + offset


def chosen_strength(features, scores):
    fold = np.random.default_rng(0).permutation(len(scores)) % FOLDS

    def error(strength):
        return sum(
            (
                (ridge(features[fold != k], scores[fold != k], strength)(features[fold == k]) - scores[fold == k]) ** 2
            ).sum()
            for k in range(FOLDS)
        )

    return min(STRENGTHS, key=error)


def probe(features, scores, is_test):
    """Predictions for the test pictures, and the strength that the training ones chose."""
    features = np.asarray(features, dtype=np.float64)
    train_features, train_scores = features[~is_test], scores[~is_test]
    strength = chosen_strength(train_features, train_scores)
    return ridge(train_features, train_scores, strength)(features[is_test]), strength


def out_of_fold(features, scores):
    """Predictions for every picture, each by a probe of the others."""
    fold = np.random.default_rng(1).permutation(len(scores)) % FOLDS
    predicted = np.empty(len(scores))
    for k in range(FOLDS):
        predicted[fold == k] = probe(features, scores, fold == k)[0]
    return predicted


def interval(predicted, scores, draws=2000):
    """95 % bootstrap interval of the Spearman correlation."""
    generator = np.random.default_rng(0)
    picks = generator.integers(0, len(scores), (draws, len(scores)))
    return np.percentile([spearmanr(predicted[pick], scores[pick]).statistic for pick in picks], [2.5, 97.5])


def factors_of(corpus, paths):
    """The factors of the hidden taste, a list for each picture."""
    with open(corpus / "truth/latent.csv") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    return {name: np.array([float(rows[path.stem][name]) for path in paths]) for name in FACTORS}


def with_few(features, scores, is_test):
    """Mean correlation of probes on FEW training pictures, drawn five times."""
    found = []
    for draw in range(5):
        few = np.random.default_rng(draw).permutation(np.flatnonzero(~is_test))[:FEW]
        predict = ridge(features[few], scores[few], chosen_strength(features[few], scores[few]))
        found.append(spearmanr(predict(features[is_test]), scores[is_test]).statistic)
    return np.mean(found)


def features_to_compare(paths, weights=WEIGHTS):
    pixels = np.stack([pixels_of(path) for path in paths])
    torch.manual_seed(0)
    return {
        "teacher": pooled_features(load_teacher(weights), pixels),
        "statistics of pixels": np.array([image_statistics(path) for path in paths]),
        "random network": pooled_features(VisualTower().eval(), pixels),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus", type=pathlib.Path)
    parser.add_argument("--weights", type=pathlib.Path, default=WEIGHTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    paths, scores, is_test = rated_pictures(arguments.corpus)
    print(f"{(~is_test).sum()} training and {is_test.sum()} test pictures")
    compared = features_to_compare(paths, arguments.weights)
    for name, features in compared.items():
        predicted, strength = probe(features, scores, is_test)
        low, high = interval(predicted, scores[is_test])
        print(
            f"{name:21} {features.shape[1]:4} features, strength {strength:9.3g}: "
            f"SRCC {spearmanr(predicted, scores[is_test]).statistic:.3f} [{low:.3f}, {high:.3f}]"
        )
    teacher = np.asarray(compared["teacher"], dtype=np.float64)
    print(f"teacher, {FEW} training pictures: SRCC {with_few(teacher, scores, is_test):.3f}")
    for name, factor in factors_of(arguments.corpus, paths).items():
        print(f"teacher, {name}: SRCC {spearmanr(probe(teacher, factor, is_test)[0], factor[is_test]).statistic:.3f}")


if __name__ == "__main__":
    main()
