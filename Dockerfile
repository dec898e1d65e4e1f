# One file, two targets: `service` (API, sampler, MLflow) and `worker` (training).
# On a GPU node the same torch pin installs its CUDA build, and the container runtime supplies the driver.
FROM python:3.11-slim-bookworm AS common
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /srtune
RUN useradd --create-home --uid 1000 srtune && mkdir /data && chown srtune /data
COPY pyproject.toml constraints.txt README.md ./
COPY losses losses
COPY migrations migrations
COPY service service
COPY workers workers

FROM common AS service
RUN pip install --constraint constraints.txt '.[server,worker,ffmpeg]'
USER srtune
ENV SRTUNE_DATA=/data SRTUNE_HOST=0.0.0.0
VOLUME /data
EXPOSE 8470
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=12 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8470/readyz', timeout=4)"]
CMD ["srtune", "serve"]

FROM common AS worker
RUN pip install --constraint constraints.txt '.[worker,ffmpeg,demo]'
USER srtune
ENV SRTUNE_CACHE=/data/cache
VOLUME /data
CMD ["srtune", "worker", "--folder", "/data/worker"]
