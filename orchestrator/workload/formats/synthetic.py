"""Made-up traffic: gamma or Poisson arrivals, drawn lengths, shared prefixes; all from one seed."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ...strict import Strict
from ..arrivals import Arrivals
from ..options import WorkloadOptions
from ..randomness import Lengths
from ..registry import Format, Reading
from ..request import Image, Request
from ..tokens import FRESH, MOST_GROUPS, MOST_TOKENS, TokenIds, placeholders, prefixed


class SharedPrefix(BaseModel):
    """System prompts: each request starts with one of ``groups`` prefixes of ``tokens`` tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    groups: int = Field(default=1, ge=1, le=MOST_GROUPS, description="prefixes, each request has one by chance")
    tokens: int = Field(ge=1, le=MOST_TOKENS, description="of each prefix")


class Images(Strict):
    """Images in prompts, behind a shared beginning and before the text, whose lengths ``input_tokens`` are."""

    tokens: Lengths = Field(description="of each image; a picture always has as many")
    share: float = Field(default=1.0, gt=0, le=1, description="of the requests that have any")
    per_request: int = Field(default=1, ge=1, le=10_000, description="in each of these")
    pictures: int | None = Field(default=None, ge=1, le=1_000_000, description="different ones; default: no two alike")


class Synthetic(WorkloadOptions):
    """A synthetic workload: so many requests at that pace, of drawn lengths."""

    format: Literal["synthetic"] = "synthetic"
    num_requests: int = Field(ge=1, description="sent in all")
    input_tokens: Lengths = Field(description="of the prompts")
    output_tokens: Lengths = Field(description="of the answers")
    shared_prefix: SharedPrefix | None = Field(default=None, description="beginnings that prompts have in common")
    images: Images | None = Field(default=None, description="in prompts, beside the text")

    @property
    def has_images(self) -> bool:
        return self.images is not None

    @model_validator(mode="after")
    def _paced(self) -> Synthetic:
        if not self.given and self.max_concurrency is None:
            raise ValueError("request_rate is missing (requests per second, or inf); or give rates or a ramp")
        return self


def generate(spec: Synthetic, reading: Reading) -> Iterator[Request]:
    """Requests in order of arrival; the same spec and seed give the same requests."""
    gaps, inputs, outputs, groups = (reading.stream(part) for part in ("gaps", "in", "out", "prefix"))
    total = min(spec.num_requests, spec.limit or spec.num_requests)
    arrivals = Arrivals(spec, gaps, total)
    fresh, pictures = FRESH, _Pictures(spec.images, reading) if spec.images else None
    for number in range(total):
        arrival = arrivals.next_ps()
        prompt, answer = spec.input_tokens.draw(inputs), spec.output_tokens.draw(outputs)
        shared = min(spec.shared_prefix.tokens, prompt) if spec.shared_prefix else 0
        images = pictures.draw(shared) if pictures else ()
        seen = sum(image.tokens for image in images)
        ids: TokenIds | None = None
        if spec.shared_prefix:
            group = int(groups.integers(spec.shared_prefix.groups))
            ids = prefixed(group, shared, fresh, prompt + answer - shared)
            fresh += prompt + answer
            if images:
                ids = ids[:shared] + array("q", placeholders(images)) + ids[shared:]
        yield Request(number, arrival, prompt + seen, answer, ids, images=images)


class _Pictures:
    """Draws the images of requests."""

    def __init__(self, spec: Images, reading: Reading) -> None:
        self._spec = spec
        self._sizes, self._which, self._has = (reading.stream(f"images.{part}") for part in ("tokens", "which", "has"))
        self._known = [spec.tokens.draw(self._sizes) for _ in range(spec.pictures or 0)]
        self._fresh = 0

    def draw(self, start: int) -> tuple[Image, ...]:
        """Of one request, from ``start`` on."""
        found: list[Image] = []
        if self._spec.share < 1 and self._has.random() >= self._spec.share:
            return ()
        for _ in range(self._spec.per_request):
            if self._known:
                picture = int(self._which.integers(len(self._known)))
                tokens = self._known[picture]
            else:
                picture, tokens = self._fresh, self._spec.tokens.draw(self._sizes)
                self._fresh += 1
            found.append(Image(start, tokens, picture))
            start += tokens
        return tuple(found)


FORMAT = Format(Synthetic, generate)
