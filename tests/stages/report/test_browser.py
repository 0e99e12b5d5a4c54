"""report.html of trained students in headless Chromium: nothing fails, nothing is loaded, nothing that a file is named runs."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import browser, small_study
from support.finished import write_per_class

from stages.evaluate import metrics
from stages.report import __main__ as report
from tuition.files import read_array, read_json, write_json

NAME = """"><script>document.title='ran'</script><img src=x onerror="document.title='ran'">'.png"""
SECTIONS = [
    "Accuracy against calls and money",
    "What the next calls would buy",
    "What is mistaken for what",
    "The cascade: hand the least sure on to the teacher",
    "Where teacher, label and student disagree",
    "Training",
    "What was spent",
    "Are the answers plausible?",
]


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Iterator[browser.Page]:
    with browser.browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> Path:
    """The report of a small study of real students; every sample comes from a file that is named like an attack."""
    if browser.program() is None:
        ask = "no Chromium is installed here; on Debian: apt-get install chromium"
        pytest.fail(ask) if os.environ.get("CI") == "true" else pytest.skip(ask)
    root = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        make_study(root)
        report.main([])
    return root / "report/report.html"


def make_study(root: Path) -> None:
    small_study.make_study(root, (50, 100, 200), ("ce", "kd"))
    data = read_json(root / "data/meta.json")
    write_json(
        root / "data/meta.json", data | {"source": "folder:x", "splits": {"train": 600, "val": 200, "test": 300}}
    )
    labels = read_array(root / "data/test/labels.npy")
    with (root / "data/train/files.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "file", "row"])
        writer.writerows([id.decode(), NAME, ""] for id in read_array(root / "data/train/ids.npy"))
    for budget in (50, 100, 200):
        spend = {"budget": budget, "calls": budget, "new_calls": budget, "cost": budget * 0.01, "usable": budget}
        write_json(root / f"outputs/{budget}/spend.json", spend)
        for steps, method in ((6, "ce"), (12, "kd")):
            small_study.write_cell(root, budget, method, 0, steps=steps)
            results = root / f"results/{budget}-{method}-0"
            logits = read_array(results / "logits.npy")
            write_per_class(results, small_study.NAMES, logits, labels)
            figures = metrics.score(logits, labels, 15) | read_json(results / "metrics.json")
            figures |= {"agreement_with_teacher": 0.9, "parameters": 77850, "size_bytes": 320000}
            write_json(results / "metrics.json", figures | {"top1_recentred": figures["top1"]})


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_the_page_in_a_browser(pages, page, width, scheme):
    page.show(pages, width, scheme)
    assert page.value("[...document.querySelectorAll('h2')].map(one => one.innerText)") == SECTIONS
    assert page.value("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.value("[...document.images].length > 0 && [...document.images].every(one => one.naturalWidth > 0)")
    assert page.value(f"document.body.innerText.includes({NAME!r})")
    assert page.value("document.scripts.length") == 0
    assert page.value("document.title") != "ran"
    assert page.value("getComputedStyle(document.body).backgroundColor") == (
        "rgb(255, 255, 255)" if scheme == "light" else "rgb(21, 23, 26)"
    )
    assert page.told("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded") == []
    asked = [one["request"]["url"] for one in page.told("Network.requestWillBeSent")]
    assert [url for url in asked if not url.startswith("data:")] == [pages.as_uri()]
