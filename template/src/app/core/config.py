"""Settings, read from the environment, from files that it names, and from `.env`.

Nothing else in the service reads any of them.
"""

import re
import sys
from enum import StrEnum
from ipaddress import ip_network
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    HttpUrl,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)
from sqlalchemy import URL

from app.core.db.url import parse_database_url
from app.core.project import PROJECT
from app.core.secret_files import SecretFilesSource


def _split_commas(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _origin(value: str) -> str:
    if value != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#@]+", value):
        raise ValueError("must look like https://app.example.com, with nothing after it")
    return value


def _host(value: str) -> str:
    if not re.fullmatch(r"(\*\.)?[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]", value):
        raise ValueError("must look like api.example.com or *.example.com, without scheme and port")
    return value.removesuffix(".")


def _network(value: str) -> str:
    if value != "*":
        try:
            ip_network(value)
        except ValueError:
            raise ValueError("must be an address or a network, such as 10.0.0.0/8") from None
    return value


def _headers(value: SecretStr) -> SecretStr:
    parts = value.get_secret_value().split(",")
    if not all(
        re.fullmatch(r"\s*([\w.-]+\s*=[ !#-:<-\[\]-~]*)?", part, re.ASCII) for part in parts
    ):
        raise ValueError("must look like name=value, several with commas between them")
    return value


# OpenTelemetry would log what it does not understand, whatever secret it is.
SecretHeaders = Annotated[SecretStr, AfterValidator(_headers)]
# Checked here: middleware would take a malformed value for a host that never asks.
Origin = Annotated[str, AfterValidator(_origin)]
Host = Annotated[str, AfterValidator(_host)]
Network = Annotated[str, AfterValidator(_network)]
Items = TypeVar("Items")
CommaSeparated = Annotated[list[Items], NoDecode, BeforeValidator(_split_commas)]
# SQLAlchemy's URL masks its password wherever it is printed.
DatabaseURL = Annotated[URL, NoDecode, BeforeValidator(parse_database_url)]

# Passwords of examples, ours included: publicly known.
EXAMPLE_PASSWORDS = {"change-me", "changeme", "example", "password", "postgres", "secret"}


class Environment(StrEnum):
    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"


def _is_development(known: dict[str, Any]) -> bool:
    return known.get("ENVIRONMENT") is Environment.DEVELOPMENT


def _is_production(known: dict[str, Any]) -> bool:
    return known.get("ENVIRONMENT") is Environment.PRODUCTION


class Settings(BaseSettings):
    """Each field is the environment variable of its name, or the content of the file that NAME_FILE
    names; durations are in seconds."""

    model_config = SettingsConfigDict(
        arbitrary_types_allowed=True,
        case_sensitive=True,
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    # The strictest is the default: a deployment that sets nothing is production.
    ENVIRONMENT: Environment = Environment.PRODUCTION

    DATABASE_URL: DatabaseURL
    # A direct connection for migrations, if DATABASE_URL leads to a pooler.
    MIGRATION_DATABASE_URL: DatabaseURL | None = None
    DATABASE_POOL_SIZE: int = Field(default=5, ge=1, le=100)
    # How long a request waits for a session before it is answered with 503.
    DATABASE_POOL_TIMEOUT: float = Field(default=5, gt=0, le=60)
    DATABASE_CONNECT_TIMEOUT: float = Field(default=5, gt=0, le=60)
    DATABASE_STATEMENT_TIMEOUT: float = Field(default=30, gt=0, le=3600)
    # Creates all tables from the models, without migrations: for first sketches only.
    CREATE_TABLES_ON_START: bool = False

    # How long a migration may wait for a lock; queries of the service queue behind it.
    MIGRATION_LOCK_TIMEOUT: float = Field(default=1, gt=0, le=60)
    MIGRATION_STATEMENT_TIMEOUT: float = Field(default=60, gt=0, le=604_800)
    MIGRATION_IDLE_IN_TRANSACTION_TIMEOUT: float = Field(default=60, gt=0, le=604_800)
    # How long to wait for another process that is migrating.
    MIGRATION_RUNNER_TIMEOUT: float = Field(default=300, ge=0)
    MIGRATION_ATTEMPTS: int = Field(default=10, ge=1, le=100)
    # Lets the service apply the migrations, for hosts that run one container only.
    MIGRATE_ON_START: bool = False

    # How long the service keeps serving after SIGTERM, not ready: for proxies that poll it.
    SHUTDOWN_DELAY: float = Field(default=0, ge=0, le=300)

    LOG_LEVEL: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    # For people in development, for machines elsewhere.
    LOG_FORMAT: Literal["text", "json"] = Field(
        default_factory=lambda known: "text" if _is_development(known) else "json"
    )

    # Worker processes; in containers, prefer more containers.
    WORKERS: int = Field(default=1, ge=1, le=64)
    # Addresses or networks of proxies whose X-Forwarded-For and -Proto are trusted.
    TRUSTED_PROXIES: CommaSeparated[Network] = []
    # How long requests in progress may take to finish when the service stops.
    SHUTDOWN_TIMEOUT: int = Field(default=20, ge=0, le=3600)

    # Bytes; a larger body is answered with 413.
    MAX_BODY_SIZE: int = Field(default=1_000_000, ge=0)
    # Seconds until a body must have arrived, before the request is answered with 408.
    BODY_TIMEOUT: float = Field(default=20, gt=0, le=3600)
    # A request that takes longer, or comes on top of this many, is answered with 503.
    REQUEST_TIMEOUT: float = Field(default=60, gt=0, le=3600)
    MAX_CONCURRENT_REQUESTS: int = Field(default=1000, ge=1)
    # Allowed Host headers; empty allows any.
    ALLOWED_HOSTS: CommaSeparated[Host] = []
    CORS_ALLOWED_ORIGINS: CommaSeparated[Origin] = []
    # For a project that adds routes for websockets; without it, no connection is upgraded.
    WEBSOCKETS: bool = False
    # Serves /docs and /openapi.json; off in production.
    DOCS: bool = Field(default_factory=lambda known: not _is_production(known))

    # The collector that gets traces and metrics, by OTLP over HTTP; unset sends nothing.
    # OpenTelemetry's other variables, such as OTEL_TRACES_SAMPLER, are read by its SDK alone.
    OTEL_EXPORTER_OTLP_ENDPOINT: HttpUrl | None = None
    # Headers that the collector requires, such as api-key=…; separated by commas.
    OTEL_EXPORTER_OTLP_HEADERS: SecretHeaders = SecretStr("")
    OTEL_SERVICE_NAME: str = PROJECT.slug
    # Serves /metrics to Prometheus; a public proxy should not forward it.
    METRICS: bool = False

    # Above: the template's, changed by `copier update`.
    # Below: yours, so that an update and an addition
    # never touch the same lines.

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, SecretFilesSource(settings_cls), dotenv_settings

    @model_validator(mode="after")
    def _refuse_example_passwords(self) -> Self:
        if self.ENVIRONMENT is Environment.DEVELOPMENT:
            return self
        for name in ("DATABASE_URL", "MIGRATION_DATABASE_URL"):
            url = getattr(self, name)
            if url is not None and url.password in EXAMPLE_PASSWORDS:
                raise ValueError(f"{name} has the password of an example: choose one of your own")
        return self

    @model_validator(mode="after")
    def _refuse_tables_on_start_in_production(self) -> Self:
        if self.CREATE_TABLES_ON_START and self.ENVIRONMENT is Environment.PRODUCTION:
            raise ValueError("CREATE_TABLES_ON_START must be off in production: run the migrations")
        return self

    @model_validator(mode="after")
    def _refuse_workers_that_each_migrate(self) -> Self:
        if self.MIGRATE_ON_START and self.WORKERS > 1:
            raise ValueError(
                "MIGRATE_ON_START needs WORKERS=1, so that a migration that fails stops the "
                "service: run more containers instead"
            )
        return self

    @model_validator(mode="after")
    def _refuse_metrics_of_one_worker_in_many(self) -> Self:
        if self.METRICS and self.WORKERS > 1:
            raise ValueError(
                "METRICS would show one of WORKERS only: run one worker and more containers, "
                "or send metrics to OTEL_EXPORTER_OTLP_ENDPOINT"
            )
        return self


def load_settings() -> Settings:
    """Read the settings, or end the process with code 2 and one line per problem on stderr."""
    try:
        return Settings()
    except ValidationError as error:
        problems = [
            _in_one_line(details)
            for details in error.errors(include_url=False)
            # It depends on another setting, which is reported itself.
            if details["type"] != "default_factory_not_called"
        ]
    except SettingsError as error:
        problems = [str(error)]
    except UnicodeDecodeError:
        problems = [".env is not UTF-8: save it as UTF-8"]
    print(*problems, sep="\n", file=sys.stderr)
    raise SystemExit(2)


def _in_one_line(details: ErrorDetails) -> str:
    """Say which setting is wrong and how, without its value: that may be a secret."""
    name = ".".join(str(part) for part in details["loc"])
    match details["type"], name:
        case "missing", "DATABASE_URL":
            return (
                "DATABASE_URL is not set: export it or write it to .env, as in .env.example, "
                "or let `uv run devdb COMMAND` give the command a database"
            )
        case "missing", _:
            return f"{name} is not set: export it or write it to .env, as in .env.example"
        case "value_error", "":
            return str(details["ctx"]["error"])
        case "value_error", _:
            return f"{name} {details['ctx']['error']}"
        case _:
            return f"{name}: {details['msg'][0].lower()}{details['msg'][1:]}"
