"""Which views of a sample are bought: drawn before the teacher is called, each one call.

A box of the image's size, shifted by at most `crop` pixels each way over the image padded with black, and mirrored or not: what random
cropping and flipping would show a student. The j-th view of a sample follows from (seed, content id, j), crop and flip alone: it is
the same for every budget and pool, and with more views a sample the first ones stay. No two views of a sample are the same; the one
that is the sample as it is (no shift, not mirrored) is its clean sample, and is not paid again where that is owned.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from tuition.errors import UserError
from tuition.ledger.keys import Request
from tuition.params import Teach
from tuition.views import possible, to_text, too_many


def draw(id: bytes, number: int, size: tuple[int, int], crop: int, flip: bool, seed: int) -> np.ndarray:
    """The first `number` views (number, 5) int32 of the sample with this content id, whose image has `size` (H, W), without repetition.

    Raises UserError where there are not so many, or a box may miss the image.
    """
    check(number, size, crop, flip)
    total, side = possible(crop, flip), 2 * crop + 1
    moved: dict[int, int] = {}  # a shuffle of 0 … total − 1, as far as it is looked at
    views = np.zeros((number, 5), dtype=np.int32)
    for j in range(number):
        digest = hashlib.sha256(f"view/{seed}/{j}/".encode() + id).digest()
        other = j + int.from_bytes(digest[:8], "big") % (total - j)
        drawn, moved[other] = moved.get(other, other), moved.get(j, j)
        mirrored, place = divmod(drawn, side**2)
        top, left = place // side - crop, place % side - crop
        if (top, left, mirrored) != (0, 0, 0):
            views[j] = top, left, *size, mirrored
    return views


def check(number: int, size: tuple[int, int], crop: int, flip: bool) -> None:
    """Raises UserError where a sample of this size has not so many views, or a box may miss the image."""
    if wrong := too_many(number, crop, flip):
        raise UserError(wrong)
    if crop >= min(size):
        raise UserError(
            f"teach.crop: {crop}, but images are {size[0]} × {size[1]}, and a view could miss all of a sample; valid: 0 to {min(size) - 1}"
        )


def plan_views(
    chosen: np.ndarray, ids: np.ndarray, budget: int, settings: Teach, size: tuple[int, int] | None
) -> tuple[tuple[Request, ...], np.ndarray, np.ndarray | None]:
    """What `budget` calls buy of the samples at `chosen`, positions in the pool in the order of purchase, `teach.views` views of each.

    Returns (requests, positions (budget,) and views (budget, 5) of each request; None where there is one view, the clean sample). All
    views of a sample are bought before the next sample's; the last sample may be left with fewer. So a smaller budget's requests are the
    first of a larger one's.
    """
    number = settings.views
    if number == 1:
        return tuple(Request(ids[i].decode()) for i in chosen[:budget]), chosen[:budget], None
    assert size is not None  # whoever asks for views knows of what they are boxes
    chosen = chosen[: -(-budget // number)]
    drawn = [draw(ids[i], number, size, settings.crop, settings.flip, settings.seed) for i in chosen]
    views, positions = np.concatenate(drawn)[:budget], np.repeat(chosen, number)[:budget]
    return requests_of(ids, positions, views), positions, views


def requests_of(ids: np.ndarray, positions: np.ndarray, views: np.ndarray | Sequence) -> tuple[Request, ...]:
    """The requests for views of the samples at these positions."""
    return tuple(Request(ids[i].decode(), to_text(view)) for i, view in zip(positions, views, strict=True))
