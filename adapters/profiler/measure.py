"""One profile: every point of every layer that is not in the journal yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from metronome.hwmodels.interface import ConfigError, Template

from . import bundle
from .journal import Journal
from .kernels import Kernels, load_torch
from .points import Limits, distinct, of
from .timing import Clock

DEVICES = ("cuda", "cpu")


def device_name(torch: Any, device: str) -> str:
    """What the hardware calls itself. Raises ConfigError where there is none."""
    if device == "cpu":
        import platform

        return f"CPU {platform.machine()}, {torch.get_num_threads()} threads"
    if not torch.cuda.is_available():
        raise ConfigError("profile", device, "PyTorch finds no such device; there is cpu")
    return str(torch.cuda.get_device_name())


def profile(
    templates: Sequence[Template],
    limits: Limits,
    folder: Path,
    device: str,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[int, int]:
    """Measure the operations of one model at one TP degree on one device; ``tell`` is told how many of how many.

    Tables are written also when it is interrupted. Returns how many points were measured, and how many did not fit
    into memory. Raises ConfigError for what cannot be measured, or a bundle of something else in ``folder``.
    """
    layers = distinct(templates)
    torch = load_torch()
    torch.manual_seed(0)
    at = layers[0].attributes
    tp = int(at.get("tp", 1))
    facts = {
        "profiler": "metronome profile",
        "torch_version": str(torch.__version__),
        "hardware": device_name(torch, device),
        "model": at["model"],
        "variant": at["dtype"],
        "kernels": "PyTorch's own; attention of a prompt and of decodes one after another",
        "skew_fit": {"enabled": False},
    }
    bundle.open_bundle(folder, facts)
    journal = Journal(folder / f"tp{tp}")
    kernels, clock = Kernels(torch, device), Clock(torch, device)
    points = [point for layer in layers for point in of(layer, limits)]
    left = [point for point in points if point.key not in journal.times]
    try:
        with torch.inference_mode():
            for number, point in enumerate(left):
                tell(len(points) - len(left) + number, len(points))
                try:
                    journal.add(point.key, clock.time_us(kernels.of(point)))
                except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
                    if "memory" not in str(error).lower() and not isinstance(error, MemoryError):
                        raise
                    journal.add(point.key, None)
    finally:
        bundle.write(folder, tp, layers, journal.times)
    return len(left), sum(time is None for time in journal.times.values())
