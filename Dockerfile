# tritonrec in containers. One stage each:
#
#   builder   trains and exports on the GPU machine that will serve
#   server    serves with NVIDIA's Triton, on a GPU or not
#   cpu       serves with the Triton of the Python package index; needs no image of NVIDIA
#
# A TensorRT plan loads in the TensorRT that built it alone, so `builder` and `server` share one
# base image, and TENSORRT is the version in that image. The pairs that fit are listed in
# builder/doctor/images.py, and a test holds these lines to them. For drivers that 26.08 does not
# run on: --build-arg TRITON=26.05 --build-arg TENSORRT=10.16.1.11
ARG TRITON=26.08
ARG TENSORRT=11.2.1.2
ARG PYTHON=3.11


FROM nvcr.io/nvidia/tritonserver:${TRITON}-py3 AS builder
ARG TENSORRT
# The image's Python belongs to the system, which pip refuses to touch unless told.
ENV PIP_BREAK_SYSTEM_PACKAGES=1 \
    PIP_NO_CACHE_DIR=1
WORKDIR /opt/tritonrec
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY build_backend build_backend
COPY client client
COPY builder builder
COPY model_repository model_repository
# 1000 is the image's own user triton-server; a new volume takes over the owner of its directory.
RUN python3 -m pip install --constraint constraints.txt '.[builder]' "tensorrt==${TENSORRT}" \
    && install --directory --owner=1000 --group=1000 /models /work
USER 1000
WORKDIR /work
ENTRYPOINT ["python3", "-m", "tritonrec"]
CMD ["--help"]


FROM nvcr.io/nvidia/tritonserver:${TRITON}-py3 AS server
# As builder/serving/installation.py has it.
ENV PIP_BREAK_SYSTEM_PACKAGES=1 \
    PIP_NO_CACHE_DIR=1 \
    MALLOC_MMAP_THRESHOLD_=33554432 \
    MALLOC_TRIM_THRESHOLD_=134217728 \
    OPENBLAS_NUM_THREADS=1 \
    ORT_DISABLE_TELEMETRY=1 \
    TRITONREC_EVENTS=/events
COPY constraints.txt /tmp/constraints.txt
# What the Python models import. NVIDIA's image comes with numpy below 2, and stays there: with
# numpy 2, the Python backend of Triton 2.51 read every text as garbage, and whether that of this
# one does has not been tried.
RUN python3 -m pip install --constraint /tmp/constraints.txt \
        'numpy<2' \
        lark \
        tokenizers \
        onnxruntime \
        pyversity \
    && install --directory --owner=1000 --group=1000 /models /events
USER 1000
EXPOSE 8000 8001 8002
# Triton's word: it does not notice a model whose process is dead, see docs/operations.md.
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=4)"]
# Publishing replaces the directory `repository` by another one. So its parent is the mount: a
# mount of the directory itself would go on showing the old one.
VOLUME /models
VOLUME /events
CMD ["tritonserver", \
    "--model-repository=/models/repository", \
    "--disable-auto-complete-config", \
    "--exit-on-error=true", \
    "--strict-readiness=true", \
    "--grpc-http2-min-recv-ping-interval-without-data=5000", \
    "--exit-timeout-secs=30"]


FROM python:${PYTHON}-slim AS cpu
ENV PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1
WORKDIR /opt/tritonrec
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY build_backend build_backend
COPY client client
COPY builder builder
COPY model_repository model_repository
# pandas and pyarrow are imported with the commands that read logs, not by serving.
RUN python -m pip install --constraint constraints.txt '.[embedded]' typer rich pandas pyarrow \
    && install --directory --owner=1000 --group=1000 /models /events
USER 1000
EXPOSE 8000 8001 8002 8003
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8003/ready', timeout=4)"]
VOLUME /models
VOLUME /events
WORKDIR /models
CMD ["python", "-m", "tritonrec", "serve", "--repository", "/models/repository", \
    "--events", "/events", "--host", "0.0.0.0"]
