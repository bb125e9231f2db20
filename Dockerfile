# vidtok in a container: Debian's Python 3.11, PyTorch with its own CUDA libraries or the CPU build, no build tools.
#
#   docker build -t vidtok .                                           CUDA: torch as the package index has it
#   docker build -t vidtok --build-arg TORCH_INDEX=URL .               CPU: URL is PyTorch's index of CPU wheels
#   docker build -t vidtok --build-context wheels=DIR \
#                --build-arg PIP_NO_INDEX=1 .                          only the wheels in DIR, no package index at all
#
#   docker run --rm --gpus all --ipc=host -v /videos:/data:ro -v "$PWD:/results" vidtok infer /data
#
# Videos are mounted at /data (read-only is enough), results go to the working folder /results. Weights from the hub are
# kept in /cache/huggingface: mount a folder there, and set HF_HUB_OFFLINE=1 where there is no network. Runs as any
# user (`--user "$(id -u):$(id -g)"`) and with a read-only root (`--read-only --tmpfs /tmp`).

ARG BASE_IMAGE=debian:bookworm-slim

# Empty unless `--build-context wheels=DIR` puts a folder of wheels in its place.
FROM scratch AS wheels

FROM ${BASE_IMAGE} AS python
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log

# Everything with pip stays in these two stages; the image gets the finished environment.
FROM python AS requirements
COPY pyproject.toml constraints.txt /out/
RUN python3 -c 'import tomllib; print(*tomllib.load(open("/out/pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
    > /out/requirements.txt && rm /out/pyproject.toml

FROM python AS builder
ARG TORCH_INDEX
ARG PIP_NO_INDEX
ENV PIP_FIND_LINKS=/wheels PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/vidtok
COPY --from=requirements /out /opt/vidtok/share
RUN --mount=type=bind,from=wheels,target=/wheels \
    /opt/pip/bin/pip --python /opt/vidtok install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} \
    -c /opt/vidtok/share/constraints.txt torch
RUN --mount=type=bind,from=wheels,target=/wheels \
    /opt/pip/bin/pip --python /opt/vidtok install \
    -c /opt/vidtok/share/constraints.txt -r /opt/vidtok/share/requirements.txt

FROM builder AS package
RUN python3 -m venv --without-pip /opt/package
COPY pyproject.toml README.md LICENSE /src/
COPY configs /src/configs
COPY vidtok /src/vidtok
RUN --mount=type=bind,from=wheels,target=/wheels \
    /opt/pip/bin/pip --python /opt/package install --no-deps /src \
 && sed -i '1s#/opt/package#/opt/vidtok#' /opt/package/bin/vidtok

FROM python
RUN useradd --create-home --uid 1000 vidtok \
 && mkdir -p /data /results /cache/huggingface \
 && chmod 1777 /results /cache /cache/huggingface
COPY --from=builder /opt/vidtok /opt/vidtok
COPY --from=package /opt/package/bin/vidtok /opt/vidtok/bin/vidtok
COPY --from=package /opt/package/lib /opt/vidtok/lib

ENV PATH=/opt/vidtok/bin:$PATH \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility,video \
    HF_HOME=/cache/huggingface \
    XDG_CACHE_HOME=/tmp/cache \
    MPLCONFIGDIR=/tmp/matplotlib \
    TORCHINDUCTOR_CACHE_DIR=/tmp/inductor \
    TRITON_CACHE_DIR=/tmp/triton \
    USER=vidtok \
    PYTHONDONTWRITEBYTECODE=1
USER vidtok
WORKDIR /results
ENTRYPOINT ["vidtok"]
CMD ["--help"]
