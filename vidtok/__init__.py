"""Video recognition with spatio-temporal token compression.

Importing the package imports nothing else; the names below are fetched when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from vidtok.engine.infer import predict
    from vidtok.models.build import create_model, list_models
    from vidtok.models.checkpoint import load

__all__ = ["__version__", "create_model", "list_models", "load", "predict"]

_HOMES = {
    "create_model": "vidtok.models.build",
    "list_models": "vidtok.models.build",
    "load": "vidtok.models.checkpoint",
    "predict": "vidtok.engine.infer",
}


def __getattr__(name: str) -> Any:
    """Fetch a public function from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vidtok' has no attribute '{name}'; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
