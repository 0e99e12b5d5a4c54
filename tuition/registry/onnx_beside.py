"""What lies beside the ONNX file of a student of texts: what makes its input, tokens, of a text. Knows nothing of graphs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuition.files import atomic
from tuition.inputs.protocol import Inputs
from tuition.inputs.texts.tuition_texts import PER_TOKEN

HOW = (
    "tokens: int32 (texts, tokens), of each text the first max_tokens; shorter texts are filled up with 0. Of each text only the first "
    "`characters` characters are read"
)
BY_FILE = "the ids that the library tokenizers gives by {file}, without special tokens"
BY_MODULE = "numbers(texts, facts) of tuition_texts.py, with what this file holds as facts"


def write_beside(target: Path, inputs: Inputs, facts: Mapping[str, Any]) -> list[Path]:
    """Write `<name>.json`, which says how tokens are made, and what makes them, next to `target`, `<name>.onnx`; returns the files.

    `facts`: what a registered student knows of its inputs. What makes tokens is `<name>.tokenizer.json`, in the format of the library
    tokenizers; of hashed tokens, which no such file can make, it is the module `tuition_texts.py`. Images have nothing beside them.
    """
    if "tokens" not in facts:
        return []
    if "tokenizer" in facts:
        maker, content = target.with_suffix(".tokenizer.json"), facts["tokenizer"].encode()
        of = BY_FILE.format(file=maker.name)
    else:
        maker, content = target.parent / inputs.receiver().name, inputs.receiver().read_bytes()
        of = BY_MODULE
    about = {key: facts[key] for key in ("tokens", "vocabulary", "max_tokens", "classes")}
    about |= {"characters": PER_TOKEN * facts["max_tokens"], "input": f"{HOW}. They are {of}."}
    description = target.with_suffix(".json")
    for path, whole in ((maker, content), (description, json.dumps(about, indent=2, ensure_ascii=False).encode())):
        with atomic(path) as file:
            file.write(whole)
    return [description, maker]
