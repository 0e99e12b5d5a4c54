"""A custom runtime for MLServer: scores (B, classes) = images · weights. It counts every image that it is given in a file."""

import hashlib
from pathlib import Path

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Linear(MLModel):
    async def load(self) -> bool:
        given = self.settings.parameters.extra
        self.weights, self.bill, self.broken = np.load(given["weights"]), Path(given["bill"]), given["broken"]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        images = NumpyCodec.decode_input(payload.inputs[0])
        with self.bill.open("a") as bill:
            bill.writelines(f"{hashlib.sha256(image.tobytes()).hexdigest()}\n" for image in images)
        scores = images.reshape(len(images), -1).astype(np.float32) @ self.weights
        if self.broken:
            scores[1] = np.nan
        return InferenceResponse(
            id=payload.id,
            model_name=self.name,
            outputs=[
                NumpyCodec.encode_output("rows", np.arange(len(images))),  # not the scores: of another shape
                NumpyCodec.encode_output("scores", scores),
            ],
        )
