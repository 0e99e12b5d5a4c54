"""What lies beside the ONNX file of a student of texts: what makes its input, tokens, of a text. Knows nothing of graphs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuition.files import atomic
from tuition.inputs.protocol import Inputs
from tuition.inputs.texts.tuition_texts import PER_TOKEN

HOW = (
    "tokens: int32 (texts, tokens), of each text at most max_tokens; shorter texts are filled up with 0. Of each text only the first "
    "`characters` characters are read. They are numbers(texts, facts) of {module}, with what this file holds as facts"
)
BESIDE = ", and as facts['tokenizer'] the text of {tokenizer}"
PAIRS = "; or the ids that the library tokenizers gives by that file, without special tokens"


def write_beside(target: Path, inputs: Inputs, facts: Mapping[str, Any]) -> list[Path]:
    """Write `<name>.json`, which says how tokens are made, and what makes them, next to `target`, `<name>.onnx`; returns the files.

    `facts`: what a registered student knows of its inputs. What makes tokens is the module that it takes along, and of all but hashed
    tokens `<name>.tokenizer.json`, in the format of the library tokenizers. Images have nothing beside them.
    """
    if "tokens" not in facts:
        return []
    module = target.parent / inputs.receiver().name
    about = {key: facts[key] for key in ("tokens", "vocabulary", "max_tokens", "classes")}
    how = HOW.format(module=module.name)
    written = {module: inputs.receiver().read_bytes()}
    if "tokenizer" in facts:
        tokenizer = target.with_suffix(".tokenizer.json")
        written[tokenizer] = facts["tokenizer"].encode()
        how += BESIDE.format(tokenizer=tokenizer.name) + (PAIRS if facts["tokens"] == "bpe" else "")
    about |= {"characters": PER_TOKEN * facts["max_tokens"], "input": f"{how}."}
    written[target.with_suffix(".json")] = json.dumps(about, indent=2, ensure_ascii=False).encode()
    for path, content in written.items():
        with atomic(path) as file:
            file.write(content)
    return list(written)
