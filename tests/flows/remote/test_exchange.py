"""What came back from elsewhere is held against what the stage is made of here."""

import copy

from flows.remote import exchange

ENTRY = {
    "cmd": "python -m stages.train 40 kd 0",
    "deps": [
        {"path": "data/train", "hash": "md5", "md5": "aa.dir", "nfiles": 3},
        {"path": "tuition/inputs/images/views.py", "md5": "bb"},
    ],
    "params": {"params.yaml": {"train": {"steps": 4}, "methods.kd": {"temperature": 4.0}}},
    "outs": [{"path": "students/40-kd-0", "md5": "cc.dir"}],
}


def changed(**parts):
    return copy.deepcopy(ENTRY) | parts


def test_the_same_sources_are_the_same_whatever_came_out():
    assert exchange._differences(ENTRY, changed(outs=[])) == []


def test_each_source_that_differs_is_named():
    deps = [
        {"path": "data/train", "md5": "aa.dir"},
        {"path": "tuition/inputs/images/views.py", "md5": "b2"},
        {"path": "new", "md5": "d"},
    ]
    assert exchange._differences(ENTRY, changed(deps=deps)) == ["new", "tuition/inputs/images/views.py"]
    params = {"params.yaml": {"train": {"steps": 5}, "methods.kd": {"temperature": 4.0}}}
    assert exchange._differences(ENTRY, changed(params=params)) == ["train"]
    assert exchange._differences(ENTRY, changed(cmd="python -m stages.train 40 kd 1")) == ["cmd"]
