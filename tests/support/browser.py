"""A page as headless Chromium shows it: what it loads, what goes wrong in it, and what stands in it, by the DevTools protocol."""

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from support import end_process

PATIENCE = 60.0  # seconds for the browser to start and to answer


def program() -> str | None:
    """Chromium's path, if one is installed."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page:
    """One tab. `events` holds whatever the browser has told of it, in order: {"method": …, "params": …}."""

    def __init__(self, connection: ClientConnection):
        self.connection, self.number, self.events = connection, 0, []

    def call(self, method: str, **parameters: Any) -> Any:
        self.number += 1
        self.connection.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while (told := self.read()).get("id") != self.number:
            pass
        assert "error" not in told, told
        return told["result"]

    def read(self) -> dict[str, Any]:
        told = json.loads(self.connection.recv(timeout=PATIENCE))
        if "method" in told:
            self.events.append(told)
        return told

    def value(self, expression: str) -> Any:
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def show(self, file: Path, width: int, scheme: str) -> None:
        """Open a file at this width, in "light" or "dark", and wait until it is loaded."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.call("Page.navigate", url=file.absolute().as_uri())
        while not self.told("Page.loadEventFired"):
            self.read()

    def told(self, *methods: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event["method"] in methods]


@contextmanager
def browser(home: Path) -> Iterator[Page]:
    """A Chromium with a profile of its own in the folder `home`; ended with all its processes."""
    command = [program(), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"]
    command += ["--remote-debugging-port=0", f"--user-data-dir={home}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        place, end = home / "DevToolsActivePort", time.monotonic() + PATIENCE
        while not (place.exists() and place.read_text().count("\n")):
            assert process.poll() is None, "Chromium ended at its start"
            assert time.monotonic() < end, "Chromium does not start"
            time.sleep(0.05)
        with urllib.request.urlopen(f"http://127.0.0.1:{place.read_text().split()[0]}/json/list") as answer:
            tabs = json.load(answer)
        address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        with connect(address, max_size=None) as connection:
            yield Page(connection)
    finally:
        end_process(process, 10)
