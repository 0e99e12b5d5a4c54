"""A teacher that keeps the provider's bill: every call that it receives, and every answer that it gave whole, go to a file.

BILL names the file (answers: BILL with `.answered`); a line is `<process> <key>`. DELAY is how long an answer takes, in seconds.
Integer arithmetic: the same image has the same answer, to the bit, in whatever batch it comes.
"""

import os
import time

import numpy as np

BILL = os.environ.get("BILL", "bill.txt")
DELAY = float(os.environ.get("DELAY", "0"))


def answer(images: np.ndarray, keys: list[str]) -> np.ndarray:
    """Images (B, C, H, W) uint8 → logits (B, 10)."""
    _note(BILL, keys)
    time.sleep(DELAY)
    pixels = images.reshape(len(images), -1).astype(np.int64)
    weights = np.random.default_rng(0).integers(-100, 101, size=(pixels.shape[1], 10))
    logits = pixels @ weights / 100_000
    _note(f"{BILL}.answered", keys)
    return logits


answer.signals = ("logits",)


def _note(path: str, keys: list[str]) -> None:
    """Append in one system call, so that a kill leaves either all lines or none."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, "".join(f"{os.getpid()} {key}\n" for key in keys).encode())
    os.close(file)
