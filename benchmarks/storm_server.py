"""A teacher on 127.0.0.1 that misbehaves at random and keeps its own bill: a process of its own, which outlives those who ask it.

`python -m benchmarks.storm_server FOLDER [--idempotent]` prints its port, and appends, each line in one system call, to FOLDER/
    bill.txt      a line for each call that it processed: its idempotency key. This is the count that counts
    requests.txt  a line for each request: when, what became of it, how many calls it asked for
    whole.txt     a line for each call whose answer left whole and right: when, key, seconds since its request came, and whether
                  the connection was "clean" or "spoilt"
An answer left whole when all of its bytes went to the system while the asker's end of the connection was open. A connection is spoilt
once the server has answered a question there a second time after a while: what it says next, the asker may take for anything.

What is right follows from an image's bytes alone, so that a wrong answer cannot pass for a right one. With `--idempotent` a key is
processed once: who asks again under it is given the answer that was stored then.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import random
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import numpy as np

from tuition.teachers import HttpRequest, Reply
from tuition.teachers.formats.bodies import Malformed, json_object, shown

CLASSES = 10
WEIGHTS = {  # of what becomes of a request, in per cent
    "well": 61.0,
    # not processed
    "429": 3.0,
    "429 with Retry-After": 1.0,
    "503": 3.0,
    "500 before": 1.5,
    "502 before": 1.5,
    "closed before": 2.0,
    # processed, and the answer spoilt on its way
    "500 after": 1.5,
    "502 after": 1.5,
    "closed after": 2.0,
    "stalled": 1.5,
    "truncated": 2.0,
    "cut": 2.0,
    # processed, and the answer there, in a way of its own
    "reordered": 3.0,
    "twice": 3.0,
    "twice, late": 1.0,
    # processed wrongly: this is then the answer
    "wrong shape": 2.5,
    "NaN": 3.0,
    "other ids": 2.0,
    "error body": 2.0,
}
BEFORE = ("429", "429 with Retry-After", "503", "500 before", "502 before", "closed before")
LATE = 0.005  # seconds until an answer comes a second time


def scores_of(pixels: bytes) -> list[float]:
    """The right answer to an image, (10,): exact in float32, and another one for any other image."""
    return (np.frombuffer(hashlib.sha512(pixels).digest()[: 2 * CLASSES], "<u2") / 64 - 512).tolist()


class Format:
    """The wire format that this server speaks, for `teacher.format`. It goes by the ids of the answers, not by their order."""

    signals = ("logits",)
    keyed = True  # a key for each image

    def __init__(self, settings: Any, data: dict[str, Any]):
        self.classes = len(data["classes"])

    def request(self, images: np.ndarray, keys: list[str]) -> HttpRequest:
        items = [
            {"id": key, "pixels": base64.b64encode(image.tobytes()).decode()}
            for key, image in zip(keys, images, strict=True)
        ]
        return HttpRequest("/score", json.dumps({"items": items}).encode(), {"Content-Type": "application/json"})

    def read(self, body: bytes, headers: Any, keys: list[str]) -> Reply:
        try:
            answer = json_object(body)
            if "items" not in answer:
                raise Malformed(f"no items: {shown(body)}")
            found = {item["id"]: item["scores"] for item in answer["items"]}
            if not set(found) & set(keys):
                raise Malformed(f"answers to other questions: {shown(list(found))}")
        except Malformed as error:
            return Reply(malformed=str(error), spoilt=error.spoilt, raw=body)
        rows = [found.get(key, []) for key in keys]
        if len({len(row) for row in rows}) > 1:  # one that is not there, or of another length, spoils no other
            rows = [row if len(row) == self.classes else [np.nan] * self.classes for row in rows]
        return Reply({"logits": np.array(rows, dtype=np.float32)})


class Server:
    """The teacher: `latency` is the mean of the seconds that a request takes, drawn evenly from 0 to twice that."""

    def __init__(self, folder: Path, idempotent: bool, latency: float, stall: float, late: float, seed: int):
        self.folder, self.idempotent, self.latency, self.stall = folder, idempotent, latency, stall
        self.weights = {**WEIGHTS, "twice, late": late}
        self.random = random.Random(seed)
        self.stored: dict[str, dict] = {}  # by key; {} stands for the error body

    async def serve(self) -> None:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=1000)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        spoilt = False
        try:
            while True:
                items = json.loads((await read_request(reader))[1])["items"]
                fate = self.random.choices(list(self.weights), list(self.weights.values()))[0]
                self._note("requests", [f"{time.time():.6f}\t{fate}\t{len(items)}"])
                await self._answer(fate, items, reader, writer, spoilt)
                spoilt = spoilt or fate == "twice, late"
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(
        self, fate: str, items: list[dict], reader: asyncio.StreamReader, writer: asyncio.StreamWriter, spoilt: bool
    ) -> None:
        came, seconds = time.time(), self.random.uniform(0, self.latency)
        await asyncio.sleep(seconds)
        if fate in BEFORE:
            if fate == "closed before":
                raise ConnectionError
            await say(writer, b"not now", int(fate[:3]), self._retry_after(fate))
            return
        answers = self._processed(fate, items)
        await asyncio.sleep(self.random.uniform(0, self.latency))  # whoever is killed now never hears of it
        if fate == "closed after":
            raise ConnectionError
        if fate in ("500 after", "502 after"):
            await say(writer, b"lost it", int(fate[:3]))
            return
        if fate == "stalled":
            await asyncio.sleep(self.stall)
        body, whole = _body(fate, answers)
        await asyncio.sleep(0)  # a peer that has gone is seen by now
        here = not reader.at_eof() and not writer.is_closing()
        if fate == "cut":
            await say(writer, body[: len(body) // 2], length=len(body))
            raise ConnectionError
        await say(writer, body, times=2 if fate == "twice" else 1)
        if here:
            now, line = time.time(), "spoilt" if spoilt else "clean"
            self._note("whole", [f"{now:.6f}\t{key}\t{now - came:.3f}\t{line}" for key in whole])
        if fate == "twice, late":
            await asyncio.sleep(LATE)
            await say(writer, body)

    def _retry_after(self, fate: str) -> dict[str, str]:
        if "Retry-After" not in fate:
            return {}
        if self.random.random() < 0.5:
            return {"Retry-After": "1"}
        now = time.time()
        return {"Date": formatdate(now, usegmt=True), "Retry-After": formatdate(now + 1, usegmt=True)}

    def _processed(self, fate: str, items: list[dict]) -> dict[str, dict]:
        """The answers by key; what was not processed yet is, and is put on the bill first."""
        new = [item for item in items if not (self.idempotent and item["id"] in self.stored)]
        self._note("bill", [item["id"] for item in new])
        answers = {item["id"]: self.stored[item["id"]] for item in items if item not in new}
        for i, item in enumerate(new):
            answer = {"id": item["id"], "scores": scores_of(base64.b64decode(item["pixels"]))}
            if fate == "wrong shape":
                answer["scores"] = answer["scores"][:7]
            elif fate == "NaN" and i == 0:
                answer["scores"] = [float("nan")] * CLASSES
            elif fate == "other ids" and i == 0:
                answer["id"] = hashlib.sha256(item["id"].encode()).hexdigest()[:32]
            answers[item["id"]] = {} if fate == "error body" else answer
        if self.idempotent:
            self.stored.update(answers)
        return {item["id"]: answers[item["id"]] for item in items}

    def _note(self, name: str, lines: list[str]) -> None:
        """Append in one system call, so that a kill leaves either all lines or none."""
        if lines:
            with open(self.folder / f"{name}.txt", "ab", buffering=0) as file:
                file.write("".join(f"{line}\n" for line in lines).encode())


def _body(fate: str, answers: dict[str, dict]) -> tuple[bytes, list[str]]:
    """What is said, and the keys of which the answer stands there whole and right."""
    items = [answer for answer in answers.values() if answer]
    if not items:
        return json.dumps({"error": {"message": "the model is overloaded"}}).encode(), []
    body = json.dumps({"items": items[::-1] if fate == "reordered" else items}).encode()
    if fate == "truncated":
        return body[: len(body) // 2], []
    right = [
        key
        for key, answer in answers.items()
        if answer and answer["id"] == key and len(answer["scores"]) == CLASSES and np.isfinite(answer["scores"]).all()
    ]
    return body, [] if fate == "cut" else right


async def read_request(reader: asyncio.StreamReader) -> tuple[dict[str, str], bytes]:
    """The headers, their names in lower case, and the body of the next request of a connection."""
    _, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return headers, await reader.readexactly(int(headers.get("content-length", 0)))


async def say(
    writer: asyncio.StreamWriter,
    body: bytes,
    status: int = 200,
    headers: dict[str, str] | None = None,
    length: int | None = None,
    times: int = 1,
) -> None:
    """Write a response, `times` in one piece; `length` is what it says of its body where that is not so."""
    lines = [f"{name}: {value}" for name, value in (headers or {}).items()]
    head = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body) if length is None else length}", *lines, "", ""]
    writer.write(("\r\n".join(head).encode() + body) * times)
    await writer.drain()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--idempotent", action="store_true")
    parser.add_argument("--latency", type=float, default=0.2, help="mean seconds a request")
    parser.add_argument("--stall", type=float, default=4.0, help="seconds that a stalled answer comes later")
    parser.add_argument(
        "--late", type=float, default=WEIGHTS["twice, late"], help="weight of a second answer that comes late"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(Server(args.folder, args.idempotent, args.latency, args.stall, args.late, args.seed).serve())


if __name__ == "__main__":
    main()
