"""The page at /docs: Swagger UI served by this service, so that it works without the internet."""

from importlib.metadata import version
from secrets import token_urlsafe
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.responses import Response

# All that the page loads; its one inline script has the nonce.
POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data:; "
    "script-src 'self' 'nonce-{nonce}'; style-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class _Assets(StaticFiles):
    """Files that browsers may cache forever: each version has its own path."""

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        response = super().file_response(*arguments, **options)
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


def add_docs(application: FastAPI) -> None:
    """Serve the page and its assets."""
    path = f"/docs/{version('fastapi-offline')}"
    assets = _Assets(directory=None, packages=[("fastapi_offline", "static")])

    @application.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "").rstrip("/")
        page = get_swagger_ui_html(
            openapi_url=f"{root}{application.openapi_url}",
            title=application.title,
            swagger_js_url=f"{root}{path}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{path}/swagger-ui.css",
            swagger_favicon_url=f"{root}{path}/favicon.png",
        )
        nonce = token_urlsafe()
        return HTMLResponse(
            bytes(page.body).replace(b"<script>", f'<script nonce="{nonce}">'.encode()),
            headers={"content-security-policy": POLICY.format(nonce=nonce)},
        )

    application.mount(path, assets)
