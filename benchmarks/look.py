"""What a person sees of a study: pictures of Prefect's and MLflow's pages, taken in headless Chromium, into docs/look/.

    python -m flows.serve start && export PREFECT_API_URL=… MLFLOW_TRACKING_URI=…
    prefect deployment run distill/study --watch
    python -m benchmarks.look [FOLDER]

Needs Chromium (Debian: `apt-get install chromium`). Somebody then has to look at them: nothing here judges.
"""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image
from websockets.sync.client import ClientConnection, connect

SIZE = (1440, 900)
LIMIT = 100_000  # bytes a picture
PATIENCE = 90.0  # seconds for a page to show what it shall


def ask(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


class Page:
    """One page of a browser, driven by its DevTools protocol."""

    def __init__(self, connection: ClientConnection):
        self.connection, self.number = connection, 0

    def call(self, method: str, **parameters: Any) -> Any:
        self.number += 1
        self.connection.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:  # events come in between
            told = json.loads(self.connection.recv(timeout=PATIENCE))
            if told.get("id") == self.number:
                if "error" in told:
                    raise RuntimeError(f"{method}: {told['error']}")
                return told["result"]

    def value(self, expression: str) -> Any:
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def show(self, url: str, words: list[str], settle: float = 3.0) -> None:
        """Open `url` and wait until all the words stand there."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)
        self.await_words(words)
        time.sleep(settle)  # graphs are drawn after their words

    def await_words(self, words: list[str]) -> None:
        end = time.monotonic() + PATIENCE
        missing = words
        while missing:
            text = self.value("document.body ? document.body.innerText : ''") or ""
            missing = [word for word in words if word not in text]
            if missing and time.monotonic() > end:
                raise RuntimeError(f"the page does not show {missing}; it shows: {text[:1500]}")
            time.sleep(0.3)

    def click(self, name: str) -> None:
        """Press the first button of this text or label, where there is one."""
        found = (
            f"[...document.querySelectorAll('button')].find(b => [b.innerText.trim(), b.ariaLabel].includes({name!r}))"
        )
        self.value(f"{found}?.click()")
        time.sleep(1)

    def type(self, placeholder: str, text: str) -> None:
        self.value(f"document.querySelector('input[placeholder=\"{placeholder}\"]').focus()")
        self.call("Input.insertText", text=text)
        time.sleep(2)

    def picture(self, path: Path, height: int = SIZE[1], settle: float = 1.5) -> None:
        """The page as a PNG of at most `LIMIT` bytes."""
        size = {"width": SIZE[0], "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        time.sleep(settle)  # what is drawn only where it is seen
        shot = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        image = Image.open(io.BytesIO(shot)).convert("RGB")
        for colours in (128, 64, 32, 16):
            small = io.BytesIO()
            image.quantize(colours, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
            if small.tell() <= LIMIT:
                break
        path.write_bytes(small.getvalue())
        print(f"{path}: {small.tell():,} bytes")


def program() -> str:
    """Chromium's path; ends the benchmark where there is none."""
    for name in ("chromium", "google-chrome", "chrome"):
        if found := shutil.which(name):
            return found
    sys.exit("error: no Chromium is installed here; on Debian: apt-get install chromium")


@contextmanager
def browser() -> Iterator[Page]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        command = [
            program(),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--force-color-profile=srgb",
            "--hide-scrollbars",
            f"--window-size={SIZE[0]},{SIZE[1]}",
            "--remote-debugging-port=0",
            f"--user-data-dir={home}",
            "about:blank",
        ]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            port = Path(home, "DevToolsActivePort")
            end = time.monotonic() + PATIENCE
            while not (port.exists() and port.read_text().count("\n")):
                if time.monotonic() > end:
                    raise RuntimeError("Chromium does not start")
                time.sleep(0.2)
            pages = ask(f"http://127.0.0.1:{port.read_text().splitlines()[0]}/json/list")
            address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
            with connect(address, max_size=None) as connection:
                yield Page(connection)
        finally:
            os.killpg(process.pid, 9)
            process.wait()


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    api = os.environ["PREFECT_API_URL"].rstrip("/")
    prefect, mlflow = api.removesuffix("/api"), os.environ["MLFLOW_TRACKING_URI"].rstrip("/")
    deployment = ask(f"{api}/deployments/name/distill/study")["id"]
    with browser() as page:
        run(page, api, folder / "prefect_run.png")
        artifact(page, api, folder / "prefect_artifact.png")
        page.show(f"{prefect}/deployments/deployment/{deployment}/run", ["Parameters"])
        page.click("str")  # of `runner`: its choices
        page.picture(folder / "prefect_form.png", 1700)
        _mlflow(page, mlflow, folder)


def run(page: Page, api: str, path: Path) -> None:
    """The newest run of a flow that has ended well: its graph of tasks."""
    done = {"state": {"type": {"any_": ["COMPLETED"]}}}
    found = ask(f"{api}/flow_runs/filter", {"flow_runs": done, "sort": "END_TIME_DESC", "limit": 1})[0]
    page.call("Emulation.setDeviceMetricsOverride", width=SIZE[0], height=1000, deviceScaleFactor=1, mobile=False)
    page.show(f"{api.removesuffix('/api')}/runs/flow-run/{found['id']}", [found["name"]], settle=8)
    page.picture(path)


def artifact(page: Page, api: str, path: Path) -> None:
    """The newest artifact of a study."""
    newest = {"sort": "CREATED_DESC", "limit": 1, "artifacts": {"key": {"any_": ["study"]}}}
    found = ask(f"{api}/artifacts/filter", newest)[0]["id"]
    page.show(f"{api.removesuffix('/api')}/artifacts/artifact/{found}", ["What was spent"])
    page.picture(path, 1500)


def _mlflow(page: Page, mlflow: str, folder: Path) -> None:
    found = ask(
        f"{mlflow}/api/2.0/mlflow/experiments/search", {"max_results": 100, "order_by": ["last_update_time DESC"]}
    )
    experiment = next(one["experiment_id"] for one in found["experiments"] if one["name"] != "Default")
    runs = ask(f"{mlflow}/api/2.0/mlflow/runs/search", {"experiment_ids": [experiment], "max_results": 200})["runs"]
    nested = [
        run["info"] for run in runs if any(tag["key"] == "mlflow.parentRunId" for tag in run["data"].get("tags", []))
    ]
    names = [run["run_name"] for run in nested[:3]]
    page.show(f"{mlflow}/#/experiments/{experiment}/runs", ["matching runs"])
    page.click("Close")  # MLflow's assistant
    best = f"searchFilter={quote('metrics.top1 > 0')}&orderByKey={quote('metrics.`top1`')}&orderByAsc=false"
    page.show(f"{mlflow}/#/experiments/{experiment}/runs?compareRunsMode=CHART&{best}", ["matching runs", *names])
    page.type("Search metric charts", "top1")
    page.picture(folder / "mlflow_compare.png", 1250, settle=12)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/look"))
