"""`flows.services.api` against a server that answers as Prefect's does while its database is locked."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from flows.services import api
from tuition.errors import Unreachable, UserError


@pytest.fixture
def server(monkeypatch):
    """Its address, and the list of status codes that it answers with, one after the other; then 200."""
    monkeypatch.setattr(api, "PAUSES", (0.01, 0.01, 0.01))
    codes: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PATCH(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(codes.pop(0) if codes else 200)
            self.end_headers()
            self.wfile.write(b'{"found": 1}')

        def log_message(self, *_):
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}/api", codes
    made.shutdown()
    made.server_close()


def test_a_busy_server_is_asked_again(server):
    url, codes = server
    codes += [503, 429, 503]
    assert api.request_json(url, "PATCH", "/thing", {}) == {"found": 1}
    assert codes == []


def test_a_server_that_stays_busy_is_for_later(server):
    url, codes = server
    codes += [503] * 10
    with pytest.raises(Unreachable, match=r"refused PATCH /thing \(503\)"):
        api.request_json(url, "PATCH", "/thing", {})
    assert len(codes) == 6


def test_a_refusal_is_not_repeated(server):
    url, codes = server
    codes += [422, 404]
    with pytest.raises(UserError, match=r"refused PATCH /thing \(422\)") as error:
        api.request_json(url, "PATCH", "/thing", {})
    assert error.value.status == 2
    assert api.request_json(url, "PATCH", "/thing", {}) is None
