from support.finished import make
from support.registered import registered, workspace

__all__ = ["make", "registered", "workspace"]
