"""A model of Triton's Python back-end: scores (B, classes) = images · weights. It counts every image that it is given in a file."""

import json
import os
import sys
from pathlib import Path

# Embedded, this Python finds the packages of whichever python3 is first on the PATH; the back-end sets PYTHONPATH itself.
sys.path.insert(0, os.environ["SITE_PACKAGES"])

import numpy as np
import triton_python_backend_utils as triton


class TritonPythonModel:
    def initialize(self, args: dict) -> None:
        given = json.loads(args["model_config"])["parameters"]
        self.weights, self.bill = np.load(given["weights"]["string_value"]), Path(given["bill"]["string_value"])

    def execute(self, requests: list) -> list:
        return [self.answer(request) for request in requests]

    def answer(self, request):
        images = triton.get_input_tensor_by_name(request, "images").as_numpy()
        with self.bill.open("a") as bill:
            bill.write("image\n" * len(images))
        scores = images.reshape(len(images), -1).astype(np.float32) @ self.weights
        rows = triton.Tensor(
            "rows", np.arange(len(images), dtype=np.int64)[:, None]
        )  # not the scores: of another shape
        return triton.InferenceResponse(output_tensors=[rows, triton.Tensor("scores", scores)])
