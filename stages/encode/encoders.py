"""Which encoder `encode.source` names: an explicit dict. Each costs its imports only where it is asked for."""

from collections.abc import Callable
from typing import Any

from stages.encode.encoding import Encoder, Pools
from tuition.params import Params

Opener = Callable[[Params, dict[str, Any], Pools], Encoder]


def open_encoder(params: Params, facts: dict[str, Any], pools: Pools) -> Encoder:
    """The encoder of `encode.source`. Raises UserError where its file, weights or size do not fit the data."""
    return OPENERS[params.encode.source.partition(":")[0]](params, facts, pools)


def _pixels(params: Params, facts: dict[str, Any], pools: Pools) -> Encoder:
    from stages.encode.pixels import open_pixels

    return open_pixels(facts, pools)


def _tfidf(params: Params, facts: dict[str, Any], pools: Pools) -> Encoder:
    from stages.encode.tfidf import open_tfidf

    return open_tfidf(params.encode.dimensions, facts, pools)


def _sentence(params: Params, facts: dict[str, Any], pools: Pools) -> Encoder:
    from stages.encode.sentence import open_sentence

    return open_sentence(params.encode.source, facts, pools)


def _network(params: Params, facts: dict[str, Any], pools: Pools) -> Encoder:
    from stages.encode.network import open_network

    return open_network(params.encode, facts, pools)


def _checkpoint(params: Params, facts: dict[str, Any], pools: Pools) -> Encoder:
    from stages.encode.network import open_checkpoint

    return open_checkpoint(params.teacher, facts, pools)


def _file(params: Params, facts: dict[str, Any], pools: Pools) -> Encoder:
    from stages.encode.brought import open_file

    return open_file(params.encode.source, pools)


OPENERS: dict[str, Opener] = {  # by what stands before the colon
    "pixels": _pixels,
    "tfidf": _tfidf,
    "sentence": _sentence,
    "timm": _network,
    "torchvision": _network,
    "checkpoint": _checkpoint,
    "file": _file,
}
