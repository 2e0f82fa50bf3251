# The orchestrator: runs a scenario whose components are in this image, or answer at addresses.
#   docker build -f deploy/orchestrator.Dockerfile --build-arg BASE=python:3.12-slim-bookworm@sha256:... -t metronome .
#   docker run --rm -v "$PWD/out:/out" metronome run quickstart -o /out
# BASE, EXTRAS, PIP_ARGS as in adapter.Dockerfile.
ARG BASE
FROM ${BASE} AS build
ARG EXTRAS=""
ARG PIP_ARGS=""
COPY . /src
RUN python3 -m pip install --no-cache-dir --no-warn-script-location --prefix=/install ${PIP_ARGS} "/src${EXTRAS}"

FROM ${BASE}
COPY --from=build /install /usr/local
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["metronome"]
CMD ["run", "quickstart", "-o", "/tmp/out"]
