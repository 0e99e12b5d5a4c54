"""Triton's own client: `triton_client.py IMAGES ID FOLDER` writes the question that it would send, head and tail, into FOLDER."""

import sys
from pathlib import Path

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput


def main(images: str, id: str, folder: str) -> None:
    values = np.load(images)
    tensor = InferInput("images", list(values.shape), "UINT8")
    tensor.set_data_from_numpy(values, binary_data=True)
    body, length = InferenceServerClient.generate_request_body([tensor], request_id=id)
    (Path(folder) / "head.json").write_bytes(body[:length])
    (Path(folder) / "tail.bin").write_bytes(body[length:])


if __name__ == "__main__":
    main(*sys.argv[1:])
