"""The document tells the truth about the running service, and clients can be generated from it."""

import sys
from pathlib import Path

import httpx2
import pytest

from packages.slipway.tests.processes import run
from tests.project import Project

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
TOOLS = Path(sys.executable).parent
CLIENT = """
from billing_client import Client
from billing_client.api.users import create_user, list_users, read_user
from billing_client.models import Problem, UserCreate

client = Client({url!r})
made = create_user.sync(client=client, body=UserCreate("ada@lovelace.org", "Ada"))
assert read_user.sync(made.id, client=client) == made
assert list_users.sync(client=client).items == [made]
again = create_user.sync(client=client, body=UserCreate("ada@lovelace.org", "Ada"))
assert isinstance(again, Problem), again
print(again.status)
"""


def test_the_service_does_what_its_document_says(project: Project, tmp_path: Path) -> None:
    with (
        project.served("just", "dev") as url,
        httpx2.Client(base_url=f"{url}/api/v1") as client,
    ):
        user = {"email": "ada@lovelace.org", "full_name": "Ada"}
        author = client.post("/users", json=user).json()["id"]
        post = {"author_id": author, "title": "On looms", "body": ""}
        posts = [client.post("/posts", json=post).json()["id"] for _ in range(20)]
        result = run(
            *(TOOLS / "schemathesis", "run", f"{url}/openapi.json"),
            *("--seed", "1", "--max-examples", "100", "--no-color"),
            cwd=tmp_path,
            check=False,
            variables={
                "PYTHONPATH": str(ROOT),
                "SCHEMATHESIS_HOOKS": "tests.openapi_formats",
                "KNOWN_IDS": ",".join([author, *posts]),
            },
        )

    assert result.returncode == 0, result.stdout


def test_a_generated_client_makes_round_trips(project: Project, tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("package_name_override: billing_client\npost_hooks: []\n")
    with project.served("just", "dev") as url:
        run(
            *(TOOLS / "openapi-python-client", "generate", "--url", f"{url}/openapi.json"),
            *("--meta", "none", "--config", "config.yml", "--fail-on-warning"),
            cwd=tmp_path,
        )
        done = run(sys.executable, "-W", "error", "-c", CLIENT.format(url=url), cwd=tmp_path)

    assert done.stdout.strip() == "409"
