# syntax=docker/dockerfile:1
# One file for every service: docker build --build-arg SERVICE=users --tag mkstore-users .
# An image contains contracts, kit, one folder of apps and that service's packages from uv.lock.

ARG SERVICE

# A tag may name another image tomorrow, a digest does not. To renew: docker buildx imagetools inspect python:3.11-slim
FROM python:3.11-slim@sha256:db3ff2e1800a8581e2c48a27c3995339d47bdf046da21c7627accd3d51053a93 AS python

FROM python AS packages
ARG SERVICE
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PROJECT_ENVIRONMENT=/opt/venv \
    UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir --root-user-action=ignore uv==0.13.9
WORKDIR /build
COPY pyproject.toml uv.lock ./
# Wheels only: a package that needs a compiler fails the build here.
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --locked --no-default-groups --group "${SERVICE}" --no-install-project --no-build

FROM python AS service
ARG SERVICE
# METRICS_HOST: Prometheus is outside of the container. FORWARDED_ALLOW_IPS: no peer is a proxy unless it is named; uvicorn trusts the loopback by default.
ENV FORWARDED_ALLOW_IPS= \
    METRICS_HOST=0.0.0.0 \
    PATH=/opt/venv/bin:$PATH \
    PORT=8000 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SERVICE=${SERVICE}
LABEL org.opencontainers.image.title="mkstore ${SERVICE}" \
      org.opencontainers.image.description="The ${SERVICE} service of mkstore" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY contracts contracts
COPY kit kit
COPY apps/__init__.py apps/
COPY apps/${SERVICE} apps/${SERVICE}
RUN python -m compileall -q apps contracts kit
USER 10001:10001
EXPOSE 8000
# Ready, not only alive: dependent services wait until NATS and the database of this one are available.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as web; web.build_opener(web.ProxyHandler({})).open(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health/ready', timeout=4)"]
STOPSIGNAL SIGTERM
# The shell expands the names; exec replaces it, so that SIGTERM reaches the service.
CMD ["sh", "-c", "exec faststream run \"apps.${SERVICE}.main:app\" --host 0.0.0.0 --port \"${PORT}\""]

FROM service AS users

FROM service AS payments

# The gateway serves the documents of all services.
FROM service AS gateway
COPY asyncapi asyncapi
COPY openapi openapi
COPY portal portal

# hadolint ignore=DL3006
FROM ${SERVICE}
