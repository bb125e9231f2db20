"""Video recognition with spatio-temporal token compression."""

__version__ = "0.1.0"
