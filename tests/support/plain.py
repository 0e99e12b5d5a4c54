"""The wire format that the server of `loopback.py` speaks, teachers that speak it, and questions with the answers to expect."""

import asyncio
import json

import numpy as np

from support.loopback import Server
from tuition.params.teacher import ServerSettings, teacher_settings
from tuition.teachers import HttpRequest, Reply, Stop
from tuition.teachers.formats.bodies import Malformed, json_object
from tuition.teachers.http.teacher import HttpTeacher


class Plain:
    """Each probe that is checked is kept in `checked`; a 404 there is a Stop."""

    signals = ("logits",)

    def __init__(self, probes: tuple[str, ...] = ()):
        self.paths, self.checked = list(probes), []

    def options(self) -> dict:
        return {}

    def request(self, images: np.ndarray, keys: list[str]) -> HttpRequest:
        sums = images.reshape(len(images), -1).sum(1, dtype=np.int64).tolist()
        content = json.dumps({"keys": list(keys), "sums": sums}).encode()
        return HttpRequest("/ask", content, {"Content-Type": "application/json"})

    def read(self, body: bytes, headers, keys: list[str]) -> Reply:
        try:
            answer = json_object(body)
            scores = np.array(answer["scores"], dtype=np.float32)
            return Reply({"logits": scores}, input_tokens=0, output_tokens=answer["tokens"])  # all of them in one
        except Malformed as error:
            return Reply(malformed=str(error), spoilt=error.spoilt, raw=body)
        except KeyError as error:
            return Reply(malformed=f"no {error}", raw=body)

    def probes(self) -> list[str]:
        return self.paths

    def check(self, path: str, code: int, body: bytes) -> None:
        self.checked.append((path, code, body))
        if code == 404:
            raise Stop(f"teacher.model: {path} is not there")


def settings(server: Server | str, **more) -> ServerSettings:
    url = server if isinstance(server, str) else server.url
    return teacher_settings(
        **{
            "kind": "http",
            "url": url,
            "format": "plain:Plain",
            "timeout": 20.0,
            "patience": 20.0,
            "batch_size": 1,
            **more,
        }
    )


def teacher(server: Server | str, format: Plain | None = None, window: float = 60.0, **more) -> HttpTeacher:
    return HttpTeacher(format or Plain(), settings(server, **more), window)


def question(number: int, count: int = 1) -> tuple[np.ndarray, list[str]]:
    """Images (count, 1, 8, 8) and their keys, other ones for each `number`."""
    images = np.random.default_rng(number).integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)
    return images, [f"{number:08x}{place:024x}" for place in range(count)]


def expected(images: np.ndarray, keys: list[str]) -> np.ndarray:
    totals = images.reshape(len(images), -1).sum(1)
    return np.array(
        [[total, *(int(digit, 16) for digit in key[:9])] for total, key in zip(totals, keys, strict=True)],
        dtype=np.float32,
    )


def ask(one: HttpTeacher, *numbers: int) -> list[Reply]:
    """Ask these questions one after the other, in one session; raises what the first failing one raises."""

    async def run() -> list[Reply]:
        async with one:
            return [await one.answer(*question(number)) for number in numbers]

    return asyncio.run(run())
