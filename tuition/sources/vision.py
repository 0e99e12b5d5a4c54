"""`torchvision:<Dataset>`: the labelled image sets that torchvision downloads, under data.root or a cache of the user's."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tuition.errors import UserError, unknown
from tuition.inputs.images import files as pixels
from tuition.origins import Origins
from tuition.params import Data
from tuition.sources.raw import Part, Raw, to_classes
from tuition.workspace import given

FLAG: dict[str, dict] = {"train": {"train": True}, "test": {"train": False}}
NAMED: dict[str, dict] = {"train": {"split": "train"}, "test": {"split": "test"}}
THREE: dict[str, dict] = {"train": {"split": "train"}, "val": {"split": "val"}, "test": {"split": "test"}}
WHOLE: dict[str, dict] = {"train": {}}

DATASETS: dict[str, dict[str, dict]] = {  # name -> the arguments that select each split
    "CIFAR10": FLAG,
    "CIFAR100": FLAG,
    "Country211": THREE | {"val": {"split": "valid"}},
    "DTD": THREE,
    "EuroSAT": WHOLE,
    "FGVCAircraft": THREE,
    "FashionMNIST": FLAG,
    "Flowers102": THREE,
    "Food101": NAMED,
    "GTSRB": NAMED,
    "KMNIST": FLAG,
    "MNIST": FLAG,
    "OxfordIIITPet": {"train": {"split": "trainval"}, "test": {"split": "test"}},
    "PCAM": THREE,
    "QMNIST": FLAG,
    "RenderedSST2": THREE,
    "SEMEION": WHOLE,
    "STL10": NAMED,
    "SVHN": NAMED,
    "USPS": FLAG,
}


def load_torchvision(place: str, data: Data) -> Raw:
    """All splits of torchvision's dataset `place`, downloaded where its files are not there yet.

    Raises UserError for a name that is not in `DATASETS`, where the files can be neither found nor downloaded, and for
    images of several sizes without data.resize.
    """
    if place not in DATASETS:
        raise unknown("data.source: torchvision", place, DATASETS)
    where = f"torchvision:{place}"
    sets = {split: open_split(place, split, data) for split in DATASETS[place]}
    names = [f"{split}/{index}" for split, one in sets.items() for index in range(len(one))]
    starts = dict(zip(sets, np.cumsum([0, *map(len, sets.values())]).tolist(), strict=False))
    labels = np.full(len(names), -1, np.int64)

    def open_one(position: int) -> Image.Image:
        split, index = names[position].split("/")
        image, label = sets[split][int(index)]
        labels[position] = int(label)
        return image

    images, kept, rejected, known = pixels.read(names, open_one, data.channels, data.resize, where)
    rows = {split: (kept >= start) & (kept < start + len(sets[split])) for split, start in starts.items()}
    found = {split: labels[kept[mine]] for split, mine in rows.items()}
    classes = getattr(sets["train"], "classes", None)
    mapped, classes = to_classes(where, found, [str(name) for name in classes] if classes else None)
    parts = {
        split: Part(
            images[mine],
            mapped[split],
            Origins.of_rows(split, kept[mine] - starts[split]),
            None if known is None else known[mine],
        )
        for split, mine in rows.items()
    }
    return Raw(parts, classes, rejected)


def open_split(name: str, split: str, data: Data) -> Any:
    """One split of torchvision's dataset `name`: a sequence of (image, label). Raises UserError where it can't be had."""
    if data.root is None:
        from platformdirs import user_cache_path

        root = user_cache_path("tuition") / "torchvision"
    else:
        root = given(data.root)
    return _open(name, root, DATASETS[name][split])


def _open(name: str, root: Path, settings: dict) -> Any:
    import torchvision

    try:
        root.mkdir(parents=True, exist_ok=True)
        return getattr(torchvision.datasets, name)(root, download=True, **settings)
    except (OSError, RuntimeError, ImportError, EOFError) as error:  # URLError and HTTPError are OSErrors
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"torchvision:{name}: cannot be downloaded ({reason}); put its files under {root} (data.root) "
            "or try again where the network allows"
        ) from None
