"""Make the MLflow store of this workspace, and the project's experiment in it, where there are none: `python -m stages.tracking`."""

from stages import params as parameters
from stages.errors import run
from stages.tracking import store


def main(_: list[str]) -> None:
    """Prints where the store is. Raises UserError as `store.connect` does."""
    print(store.connect(parameters.load().registry.name).uri)


if __name__ == "__main__":
    run(main)
