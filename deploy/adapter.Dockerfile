# A component model behind the wire contract.
#   docker build -f deploy/adapter.Dockerfile --build-arg BASE=python:3.12-slim-bookworm@sha256:... -t metronome-adapter .
# BASE: an image with Python 3.11 or newer and pip, pinned by its digest. EXTRAS: of pyproject.toml, e.g. [tls].
# PIP_ARGS: for pip, e.g. an index, or --no-index --find-links /src/wheels to build without one.
ARG BASE
FROM ${BASE} AS build
ARG EXTRAS=""
ARG PIP_ARGS=""
COPY . /src
RUN python3 -m pip install --no-cache-dir --no-warn-script-location --prefix=/install ${PIP_ARGS} "/src${EXTRAS}"

FROM ${BASE}
COPY --from=build /install /usr/local
# Where the socket is; a volume mounted there begins with this owner.
RUN mkdir -p /run/metronome && chown 65532:65532 /run/metronome && chmod 700 /run/metronome
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
HEALTHCHECK --interval=5s --timeout=5s --start-period=20s --retries=3 CMD ["python3", "-m", "metronome.adapters.host.health"]
ENTRYPOINT ["metronome"]
CMD ["components"]
