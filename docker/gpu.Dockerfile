# syntax=docker/dockerfile:1
# The worker for machines with NVIDIA GPUs, on vLLM's own image.
#
#   docker build -f docker/gpu.Dockerfile -t expo-worker-gpu:0.2.0 .
#
# Two interpreters: vLLM stays in the Python that its image brings (EXPO_ENGINE_PYTHON); ours is a
# Python 3.11 beside it, so that neither bends the other's versions. Its torch is the CUDA build;
# --build-arg TORCH=torch==2.13.0+cpu --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu makes
# the image several GB smaller, and shards are then computed on the CPU.
ARG VLLM=v0.32.0

FROM vllm/vllm-openai:${VLLM} AS dependencies
ARG UV=uv==0.13.9
ARG PYTHON=3.11
ARG TORCH=torch==2.13.0
ARG TORCH_INDEX=
ARG EXTRAS=run,cluster,cuda,demo,guards
WORKDIR /build
ENV UV_PYTHON_INSTALL_DIR=/opt/python PIP_DISABLE_PIP_VERSION_CHECK=1
RUN --mount=type=cache,target=/root/.cache \
    python3 -m venv /opt/uv \
    && /opt/uv/bin/pip install "$UV" \
    && /opt/uv/bin/uv python install "$PYTHON" \
    && /opt/uv/bin/uv venv --seed --managed-python --python "$PYTHON" /opt/expo
ENV PATH=/opt/expo/bin:$PATH
COPY constraints-worker.txt pyproject.toml README.md LICENSE ./
# hadolint ignore=DL3013
RUN --mount=type=cache,target=/root/.cache/pip \
    { pip install -c constraints-worker.txt "$TORCH" || pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$TORCH"; } \
    && pip install -c constraints-worker.txt ".[$EXTRAS]"

FROM dependencies AS code
COPY flows flows
COPY tasks tasks
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

FROM vllm/vllm-openai:${VLLM}
LABEL org.opencontainers.image.title=expo-worker-gpu \
    org.opencontainers.image.version=0.2.0 \
    org.opencontainers.image.licenses=Apache-2.0
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home expo \
    && install -d -o expo -g expo /cache
COPY --from=dependencies /opt/python /opt/python
COPY --from=dependencies /opt/expo /opt/expo
ENV PATH=/opt/expo/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    EXPO_CACHE=/cache \
    EXPO_HOME=/home/expo \
    EXPO_ENGINE_PYTHON=/usr/bin/python3
RUN --mount=type=bind,from=code,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-deps --force-reinstall /wheels/*.whl \
    && "$EXPO_ENGINE_PYTHON" -c "import pydantic, transformers; from importlib.metadata import version; print(version('vllm'))"
COPY --chmod=755 docker/entrypoint.sh docker/dask-gpus.sh /usr/local/bin/
WORKDIR /home/expo
COPY deployments deployments
USER 10001:10001
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/health', timeout=4)"]
ENTRYPOINT ["tini", "--", "entrypoint.sh"]
CMD ["prefect", "worker", "start", "--pool", "expo", "--with-healthcheck"]
