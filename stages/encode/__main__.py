"""`python -m stages.encode`: write a vector for each sample of `data/`, from `encode.source`, to `features/`. No teacher is asked.

With the source `none` only features/meta.json is written, which says so.
"""

import shutil
import time

import numpy as np

from stages.encode.encoders import open_encoder
from stages.encode.encoding import Encoder, Pools
from tuition import params as parameters
from tuition.errors import UserError, read_arguments, run
from tuition.features import NONE, About, first_not_finite
from tuition.files import atomic, read_json, write_json
from tuition.inputs.kinds import inputs_of
from tuition.origins import SPLITS
from tuition.workspace import Workspace

SAY_EVERY = 10.0  # seconds


def main(argv: list[str]) -> None:
    read_arguments("stages.encode", argv)
    params, here = parameters.load(), Workspace()
    shutil.rmtree(here.encoded.path, ignore_errors=True)
    about: About = {"source": params.encode.source, "dimensions": 0, "rows": {}, "sha256": None}
    if params.encode.source == NONE:
        write_json(here.encoded.meta, about)
        print("encode.source is none: there are no features")
        return
    facts = read_json(here.data.meta) | read_json(here.split("train").meta)
    pools = {split: inputs_of(facts).read(here.split(split).path) for split in SPLITS}
    encoder = open_encoder(params, facts, pools)
    for split in SPLITS:
        write_features(split, pools, encoder, params.encode.batch_size)
    rows = {split: len(pools[split]) for split in SPLITS}
    write_json(here.encoded.meta, {**about, "dimensions": encoder.dimensions, "rows": rows, "sha256": encoder.sha256})
    print(f"encode {params.encode.source}: {encoder.dimensions} numbers for each of {sum(rows.values()):,} samples")


def write_features(split: str, pools: Pools, encoder: Encoder, batch_size: int) -> None:
    """Write features/<split>.npy, (N, D) float32, a batch at a time. Raises UserError where a vector holds NaN or infinity."""
    count = len(pools[split])
    with atomic(Workspace().features(split)) as file:
        shape = (count, encoder.dimensions)
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        said = time.monotonic()
        for start in range(0, count, batch_size):
            rows = np.arange(start, min(start + batch_size, count))
            found = encoder.encode(split, rows).astype("<f4")
            if (bad := first_not_finite(found)) is not None:
                raise UserError(
                    f"encode.source: {encoder.name}: sample {start + bad} of data/{split} has NaN or infinity"
                )
            file.write(np.ascontiguousarray(found).tobytes())
            if time.monotonic() > said + SAY_EVERY:
                said = time.monotonic()
                print(f"encode {split}: {start + len(rows):,} of {count:,}", flush=True)


if __name__ == "__main__":
    run(main)
