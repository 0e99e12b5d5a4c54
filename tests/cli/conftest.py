from support.finished import make

__all__ = ["make"]
