"""What `params.yaml` says of one method of the study, by its own section or for all of them."""

from tuition.params.schema import ComparisonSet, Params, StudentTraining

REGIMES = {  # by what is known of samples that were not bought
    "none": "few",
    "estimated": "pool",
    "unlabelled": "pool",
    "labelled": "labelled",
    "both": "labelled",
}


def comparison_set(params: Params, name: str) -> tuple[str, ComparisonSet] | None:
    """The key and the section of `compare.sets` that the method `name` uses: its own, or that of the method whose variant it is."""
    from tuition.methods import resolve

    for key in (name, resolve(name, params.methods.get(name)).method):
        if key in params.compare.sets:
            return key, params.compare.sets[key]
    return None


def student_training(params: Params, name: str) -> StudentTraining:
    """`train`, with `methods.<name>.rest` in the place of `train.rest` where the method has that key."""
    rest = (params.methods.get(name) or {}).get("rest")
    return params.train if rest is None else params.train.model_copy(update={"rest": rest})


def regime(params: Params, name: str) -> str:
    """What the students of a method see: few (the bought samples alone), pool or labelled (the rest too)."""
    return REGIMES[student_training(params, name).rest]
