"""What a caller sends to the server: one message, and with it the standard streams."""

import array
import json
import socket
from typing import Any


def send(connection: socket.socket, text: bytes) -> None:
    """One message: its length, the text, and this process's standard streams."""
    streams = array.array("i", [0, 1, 2])
    connection.sendmsg([len(text).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
    connection.sendall(text)


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """What `send` sent, and the streams. Raises ConnectionError where the caller ended before it had sent all."""
    head, ancillary, *_ = connection.recvmsg(8, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    streams = array.array("i", ancillary[0][2] if ancillary else b"")
    text = bytearray()
    while len(text) < int.from_bytes(head, "big"):
        more = connection.recv(1 << 16)
        if not more:
            raise ConnectionError("a caller ended while it was asking")
        text += more
    return json.loads(text), list(streams)
