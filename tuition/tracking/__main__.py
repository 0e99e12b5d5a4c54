"""Make the MLflow store of this workspace, and the project's experiment in it, where there are none: `python -m tuition.tracking`."""

from tuition import params as parameters
from tuition.errors import read_arguments, run
from tuition.tracking import store


def main(argv: list[str]) -> None:
    """Prints where the store is. Raises UserError as `store.connect` does."""
    read_arguments("tuition.tracking", argv)
    print(store.connect_store(parameters.load().registry.name).shown)


if __name__ == "__main__":
    run(main)
