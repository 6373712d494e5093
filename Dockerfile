# syntax=docker/dockerfile:1
# Two stages: the first installs the locked requirements and the wheel, the second has neither
# compiler nor pip's cache, and runs as nobody.
#
# The base is pinned by tag. To pin the bytes too, look up the digest where there is a registry and
# build with it; a release must:
#   docker buildx imagetools inspect python:3.12.11-slim-bookworm
#   docker build --build-arg BASE=python:3.12.11-slim-bookworm@sha256:… -t aml .
ARG BASE=python:3.12.11-slim-bookworm

FROM ${BASE} AS build
ARG SOURCE_DATE_EPOCH=0
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# safe-pysha3 is built from source where there is no wheel for this Python
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends build-essential
WORKDIR /build
COPY requirements/run.txt requirements/build.txt requirements/
RUN python -m venv /opt/aml && /opt/aml/bin/python -m pip install --quiet --require-hashes -r requirements/run.txt
RUN python -m venv /opt/build && /opt/build/bin/python -m pip install --quiet --require-hashes -r requirements/build.txt
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE CHANGELOG.md ./
COPY contracts contracts
COPY models models
COPY relayer relayer
COPY agent agent
COPY config config
RUN /opt/build/bin/python -m build --no-isolation --outdir dist . && /opt/aml/bin/python -m pip install --quiet --no-deps --no-index dist/*.whl
# pip has compiled all of it: without bytecode each start would cost seconds, and the files are read-only later
RUN /opt/aml/bin/python -m pip uninstall --quiet --yes pip && /opt/aml/bin/aml config check

FROM ${BASE}
LABEL org.opencontainers.image.title="Autonomous Margin Layer" org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 aml && useradd --no-create-home --uid 10001 --gid aml --home-dir /var/lib/aml --shell /usr/sbin/nologin aml && install -d -o aml -g aml -m 0700 /var/lib/aml
COPY --from=build /opt/aml /opt/aml
ENV PATH=/opt/aml/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1 ETH_HASH_BACKEND=pysha3
USER aml
WORKDIR /var/lib/aml
VOLUME /var/lib/aml
STOPSIGNAL SIGTERM
# A signer's or a watcher's port is another: compose.yaml says which.
HEALTHCHECK --interval=30s --timeout=10s --start-period=10m --retries=3 CMD ["aml", "health"]
ENTRYPOINT ["aml"]
CMD ["run", "--network", "/etc/aml/aml.toml", "--state", "/var/lib/aml"]
