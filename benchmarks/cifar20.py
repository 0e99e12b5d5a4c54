"""CIFAR-100's classes 0, 5, 10, … 95 as an npz file: a fifth of the data, for studies on two cores.

`python -m benchmarks.cifar20 cifar100.npz OUT.npz`; the input has train_images, train_labels, test_images, test_labels.
"""

import sys
from pathlib import Path

import numpy as np

EVERY = 5


def main() -> None:
    source, target = map(Path, sys.argv[1:])
    with np.load(source) as full:
        parts = {}
        for split in ("train", "test"):
            images, labels = full[f"{split}_images"], full[f"{split}_labels"]
            kept = labels % EVERY == 0
            parts |= {f"{split}_images": images[kept], f"{split}_labels": labels[kept] // EVERY}
    np.savez(target, **parts)
    print(f"{target}: {len(parts['train_labels'])} training and {len(parts['test_labels'])} test images")


if __name__ == "__main__":
    main()
