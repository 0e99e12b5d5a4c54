from support.prepared import digits, prepared

__all__ = ["digits", "prepared"]
