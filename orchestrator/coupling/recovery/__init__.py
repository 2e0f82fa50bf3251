"""Components that are started anew: where they live, what their sessions were told, and how these are brought back."""

from .home import Home, connect, connected

__all__ = ["Home", "connect", "connected"]
