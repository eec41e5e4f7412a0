# syntax=docker/dockerfile:1
# Prefect's server and its background services, of the versions that the workers have.
#
#   docker build -f docker/server.Dockerfile -t expo-server:0.2.0 .
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS dependencies
WORKDIR /build
RUN python -m venv /opt/prefect
COPY constraints-worker.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/prefect/bin/pip install -c constraints-worker.txt prefect==3.9.1 prefect-redis==0.3.0

FROM python:${PYTHON}
LABEL org.opencontainers.image.title=expo-server \
    org.opencontainers.image.version=0.2.0 \
    org.opencontainers.image.licenses=Apache-2.0
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home prefect
COPY --from=dependencies /opt/prefect /opt/prefect
# The UI's files are written anew at every start, with the API's address in them.
ENV PATH=/opt/prefect/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PREFECT_UI_STATIC_DIRECTORY=/home/prefect/ui
WORKDIR /home/prefect
USER 10001:10001
EXPOSE 4200
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:4200/api/health', timeout=4)"]
ENTRYPOINT ["tini", "--"]
CMD ["prefect", "server", "start", "--host", "0.0.0.0", "--no-services"]
