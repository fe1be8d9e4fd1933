# For this repository: the default service, rendered from template/.
FROM ghcr.io/astral-sh/uv:0.13 AS uv

FROM python:3.14-slim AS service
COPY --from=uv /uv /uvx /usr/local/bin/
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_CACHE_DIR=/var/cache/uv
RUN useradd --uid 10001 --create-home slipway
COPY copier.yml /template/
COPY template /template/template
RUN --mount=type=cache,target=/var/cache/uv \
    uvx copier copy --quiet --defaults /template /service && cd /service && uv sync --no-dev
USER slipway
WORKDIR /service
ENV PATH=/service/.venv/bin:$PATH
CMD ["uvicorn", "app.main:app", "--host", "0.0.0.0"]
