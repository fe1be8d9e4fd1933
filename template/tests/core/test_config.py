from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import ValidationError

from app.core.config import Settings, load_settings
from app.core.db.url import parse_database_url

URL = "postgresql+asyncpg://app:right@localhost:5432/app"


@pytest.fixture(autouse=True)
def _no_settings_but_the_test_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(Settings.model_config, "env_file", ".env")
    for name in Settings.model_fields:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_every_scheme_becomes_the_async_one(scheme: str) -> None:
    assert parse_database_url(f"{scheme}://app@localhost/app").drivername == "postgresql+asyncpg"


@pytest.mark.parametrize("password", ["100%", "p@ss", "a/b", "a:b", "%41", "@/%:?#[] ü"])
def test_a_password_may_hold_anything_when_encoded(password: str) -> None:
    url = parse_database_url(f"postgresql://app:{quote(password, safe='')}@db:5433/app")

    assert (url.password, url.host, url.port, url.database) == (password, "db", 5433, "app")


@pytest.mark.parametrize("password", ["100%", "p@ss", "a/b", "a:b", "@/%"])
def test_a_password_may_hold_reserved_characters_as_they_are(password: str) -> None:
    url = parse_database_url(f"postgresql://app:{password}@db/app?sslmode=require")

    assert (url.password, url.host, url.query) == (password, "db", {"ssl": "require"})


def test_a_migration_by_one_of_many_workers_is_refused() -> None:
    with pytest.raises(ValidationError, match="MIGRATE_ON_START"):
        Settings(DATABASE_URL=parse_database_url(URL), MIGRATE_ON_START=True, WORKERS=2)


@pytest.mark.parametrize(
    "value",
    [
        "sqlite:///app.db",
        "mysql://app@db/app",
        "db/app",
        "postgresql://app@db",
        "postgresql://app@db:port/app",
        "postgresql://app@db:99999/app",
        "postgresql://app@db/app?port=many",
        "postgresql://app@db/app?prepared_statement_cache_size=many",
        "postgresql://app@db/app?sslmode=bogus",
        "postgresql://app@db/app?sslmod=require",
        "postgresql://app:p?ss@db/app",
    ],
)
def test_what_is_not_a_usable_url_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"^(must|has)"):
        parse_database_url(value)


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text(f"DATABASE_URL={URL}\nLOG_LEVEL=ERROR\nDATABASE_POOL_SIZE=7\n")
    monkeypatch.setenv("DATABASE_POOL_SIZE", "9")

    settings = load_settings()

    assert (settings.LOG_LEVEL, settings.DATABASE_POOL_SIZE) == ("ERROR", 9)


def test_a_file_may_hold_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("DATABASE_URL=postgresql://app:other@localhost/app\n")
    secret = tmp_path / "database_url"
    secret.write_text(f"{URL}\n")
    monkeypatch.setenv("DATABASE_URL_FILE", str(secret))

    settings = load_settings()

    assert settings.DATABASE_URL.password == "right"


def test_origins_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", URL)
    monkeypatch.setenv("CORS_ALLOWED_ORIGINS", "https://a.example, https://b.example")

    assert load_settings().CORS_ALLOWED_ORIGINS == ["https://a.example", "https://b.example"]


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({}, ["DATABASE_URL"]),
        ({"DATABASE_URL": ""}, ["DATABASE_URL"]),
        ({"DATABASE_URL": "mysql://app:s3cret@db/app"}, ["DATABASE_URL"]),
        ({"DATABASE_POOL_SIZE": "s3cret"}, ["DATABASE_URL", "DATABASE_POOL_SIZE"]),
        ({"DATABASE_URL": URL, "ENVIRONMENT": "s3cret"}, ["ENVIRONMENT"]),
        ({"DATABASE_URL": "postgresql://app:change-me@db/app"}, ["DATABASE_URL"]),
        ({"DATABASE_URL": URL, "CREATE_TABLES_ON_START": "1"}, ["CREATE_TABLES_ON_START"]),
        ({"DATABASE_URL": URL, "ALLOWED_HOSTS": "https://s3cret"}, ["ALLOWED_HOSTS"]),
        ({"DATABASE_URL": URL, "CORS_ALLOWED_ORIGINS": "s3cret.example"}, ["CORS_ALLOWED_ORIGINS"]),
        ({"DATABASE_URL": URL, "CORS_ALLOWED_ORIGINS": "https://a/"}, ["CORS_ALLOWED_ORIGINS"]),
        ({"DATABASE_URL": URL, "TRUSTED_PROXIES": "10.0.0.1/8"}, ["TRUSTED_PROXIES"]),
        ({"DATABASE_URL": URL, "OTEL_EXPORTER_OTLP_HEADERS": "a=b,s3cret"}, ["OTEL_"]),
        ({"DATABASE_URL": URL, "OTEL_EXPORTER_OTLP_HEADERS": 'a="s3cret"'}, ["OTEL_"]),
        ({"DATABASE_URL_FILE": "/no/such/file"}, ["DATABASE_URL_FILE"]),
        ({"DATABASE_URL_FILE": __file__}, ["DATABASE_URL"]),
        ({"DATABASE_URL": URL, "DATABASE_URL_FILE": "s3cret"}, ["DATABASE_URL"]),
    ],
)
def test_problems_are_one_line_each_and_end_with_code_2(
    variables: dict[str, str],
    named: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit) as exit_:
        load_settings()

    lines = capsys.readouterr().err.splitlines()
    assert exit_.value.code == 2
    assert len(lines) == len(named)
    assert all(line.startswith(name) for line, name in zip(lines, named, strict=True))
    assert "s3cret" not in "".join(lines)


def test_development_may_use_the_passwords_of_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "development")
    monkeypatch.setenv("DATABASE_URL", "postgresql://app:change-me@db/app")

    assert load_settings().DATABASE_URL.password == "change-me"


def test_no_password_is_printed() -> None:
    settings = Settings(DATABASE_URL=parse_database_url(URL))

    assert "right" not in repr(settings)
    assert "right" not in str(settings.DATABASE_URL)
