"""`python -m support.processes.methods FILE METHOD…`: students of these methods, alone or as one of the
processes that a launcher started."""

import os
import sys

import test_resume
import torch

from tuition.methods import card
from tuition.training import processes

STEPS = 2


def students(names: list[str], devices: int, steps: int = STEPS) -> dict:
    """{method: (weights, history)} after a few steps of 16 of the tests' digits."""
    changed = {"steps": steps, "validate_every": steps, "devices": devices, "accelerator": "cpu"}
    test_resume.SETTINGS = test_resume.SETTINGS.model_copy(update=changed)
    test_resume.card = lambda name: card(name.removesuffix("+kd"))
    made = {name: test_resume.train(name) for name in names}
    return {name: (done.best, done.history) for name, done in made.items()}


if __name__ == "__main__":
    done = students(sys.argv[2:], int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    if not processes.rank():
        torch.save(done, sys.argv[1])
