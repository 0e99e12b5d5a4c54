from support.registered import registered, workspace

__all__ = ["registered", "workspace"]
