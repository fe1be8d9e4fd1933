# For this repository: the default service, rendered from template/ (`web`), and its tests (`test`).
FROM ghcr.io/astral-sh/uv:0.13 AS uv

FROM python:3.14-slim AS base
COPY --from=uv /uv /uvx /usr/local/bin/
ENV UV_CACHE_DIR=/var/cache/uv \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never
RUN useradd --uid 10001 --create-home slipway

FROM base AS test
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends git >/dev/null \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner slipway --group slipway /slipway /var/cache/uv
USER slipway
WORKDIR /slipway
COPY --chown=slipway:slipway pyproject.toml ./
COPY --chown=slipway:slipway packages/slipway/pyproject.toml packages/slipway/
RUN --mount=type=cache,target=/var/cache/uv,uid=10001,gid=10001 \
    uv sync --compile-bytecode --no-install-package alembic-slipway
COPY --chown=slipway:slipway . .
ENTRYPOINT ["uv", "run", "just", "test"]

FROM base AS web
COPY copier.yml /template/
COPY template /template/template
ENV UV_COMPILE_BYTECODE=1
RUN --mount=type=cache,target=/var/cache/uv \
    uvx copier copy --quiet --defaults /template /service && cd /service && uv sync --no-dev
USER slipway
WORKDIR /service
ENV PATH=/service/.venv/bin:$PATH
CMD ["python", "-m", "app", "--host", "0.0.0.0"]
