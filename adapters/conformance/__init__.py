"""Whether a component keeps the contract: checks that need nothing but the component.

Each check takes a :class:`Subject`, a way to make fresh sessions of one component, and raises
:class:`Violation`. They run on every reference model, in process and over gRPC.
"""

from .checks import CHECKS, Subject, Violation

__all__ = ["CHECKS", "Subject", "Violation"]
