# syntax=docker/dockerfile:1
# One image for every role: docker run IMAGE worker, IMAGE web, ...

FROM python:3.13-slim AS build
# A compiler for the platforms that faust-streaming has no wheel for (Linux on ARM).
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY requirements.lock requirements.run.lock ./
# The build backend is locked too: its lines of the developers' lock.
RUN awk '/^setuptools==/ {on = 1} on {print} on && !/\\$/ {exit}' requirements.lock > build.lock \
    && python -m venv /opt/twin \
    && /opt/twin/bin/pip install --no-deps --require-hashes -r requirements.run.lock \
    && pip install --no-deps --require-hashes -r build.lock
COPY pyproject.toml README.md ./
COPY schemas schemas
COPY streams streams
RUN pip wheel --no-deps --no-build-isolation --wheel-dir wheel . \
    && /opt/twin/bin/pip install --no-deps wheel/*.whl

FROM python:3.13-slim
RUN useradd --uid 10001 --create-home --home-dir /var/lib/twin twin
COPY --from=build /opt/twin /opt/twin
# In a container loopback is nobody's: ports are kept from the world by what publishes them.
ENV PATH="/opt/twin/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    TWIN_LOG_FORMAT=json \
    TWIN_METRICS_HOST=0.0.0.0 \
    TWIN_METRICS_PORT=8011 \
    TWIN_WEB_HOST=0.0.0.0 \
    TWIN_WEB_PORT=8010
USER 10001:10001
WORKDIR /var/lib/twin
EXPOSE 8010 8011
# Ready means: has its partitions and follows them; `web` answers on its own port, the other roles on that of /metrics.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", "\
import os, urllib.request\n\
for name in ('TWIN_WEB_PORT', 'TWIN_METRICS_PORT'):\n\
    try:\n\
        urllib.request.urlopen(f'http://127.0.0.1:{os.environ[name]}/health/ready', timeout=4)\n\
        break\n\
    except urllib.error.HTTPError:\n\
        raise SystemExit(1)\n\
    except OSError:\n\
        continue\n\
else:\n\
    raise SystemExit(1)\n"]
ENTRYPOINT ["twin"]
CMD ["--help"]
