"""How well the demo corpus's hidden taste can be learnt: the ceiling, a linear fit on simple statistics, and a small CNN.

    build/release/cskd demo runs/taste --images 25000
    .venv/bin/python tests/demo/learnability.py runs/taste --epochs 30

Prints Spearman correlations with the mean scores of the test images. Takes about ten minutes on two cores.
"""

import argparse
import csv
import pathlib

import numpy as np
import torch
from PIL import Image
from scipy.stats import spearmanr
from statistics_of_images import image_statistics, linear_fit

SIDE = 96


def load(folder):
    """Rows of latent.csv whose image opens, with its statistics and its pixels at SIDE x SIDE."""
    with open(folder / "truth/latent.csv") as file:
        for row in csv.DictReader(file):
            path = folder / f"rated/images/{row['id']}.jpg"
            try:
                with Image.open(path) as image:
                    pixels = np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC))
                yield row, image_statistics(path), pixels
            except OSError:  # planted: missing or truncated
                continue


def network():
    def block(inputs, outputs):
        return torch.nn.Sequential(
            torch.nn.Conv2d(inputs, outputs, 3, padding=1),
            torch.nn.BatchNorm2d(outputs),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
        )

    return torch.nn.Sequential(
        block(3, 24),
        block(24, 48),
        block(48, 96),
        block(96, 128),
        torch.nn.Flatten(),
        torch.nn.Dropout(0.3),
        torch.nn.Linear(128 * (SIDE // 16) ** 2, 64),
        torch.nn.ReLU(),
        torch.nn.Linear(64, 1),
    )


def train(pixels, scores, epochs):
    torch.manual_seed(0)
    model = network()
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=epochs * (len(pixels) // 32))
    for _ in range(epochs):
        for batch in torch.randperm(len(pixels))[: len(pixels) // 32 * 32].view(-1, 32):
            images = pixels[batch]
            if torch.rand(()) < 0.5:
                images = images.flip(3)
            loss = torch.nn.functional.smooth_l1_loss(model(images).squeeze(1), scores[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus", type=pathlib.Path)
    parser.add_argument("--epochs", type=int, default=30)
    arguments = parser.parse_args()
    rows, features, pixels = map(list, zip(*load(arguments.corpus)))
    is_test = np.array([row["split"] == "test" for row in rows])
    mean = np.array([float(row["mean"]) for row in rows])
    print(
        f"{(~is_test).sum()} training and {is_test.sum()} test images; mean score {mean.mean():.2f}, "
        f"standard deviation {mean.std():.2f}"
    )
    halves = [[float(row[name]) for row in rows] for name in ("mean_a", "mean_b")]
    print(f"halves of the panel         {spearmanr(*halves).statistic:.3f}")
    features = np.array(features)
    predicted = linear_fit(features[~is_test], mean[~is_test], features[is_test])
    print(f"linear fit on statistics    {spearmanr(predicted, mean[is_test]).statistic:.3f}")
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1
    scores = torch.from_numpy((mean - mean.mean()) / mean.std()).float()
    model = train(images[~is_test], scores[~is_test], arguments.epochs)
    with torch.no_grad():
        predicted = torch.cat([model(batch) for batch in images[is_test].split(64)]).squeeze(1).numpy()
    print(f"small CNN at {SIDE} pixels      {spearmanr(predicted, mean[is_test]).statistic:.3f}")


if __name__ == "__main__":
    main()
