"""All settings of the service, read from the environment: `HELDOUT_*` and a few customary names."""

import os
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from heldout.access.quotas import Bounds, Quota
from heldout.access.webhooks import Allowed
from heldout.service.database_urls import add_password, is_of_a_database, make_driver_url

MIB = 1024**2
GIB = 1024**3
PREFIX = "HELDOUT_"
DEFAULT_HOME = Path("~/.heldout")

_ONE_RATE = r"[1-9]\d{0,8}/(second|minute|hour|day)"
RATE = re.compile(f"{_ONE_RATE}(;{_ONE_RATE})*")

Seconds = Annotated[float, Field(gt=0, le=86_400)]


def _accept_short_name(name: str) -> AliasChoices:
    """`HELDOUT_X`, or `X` where that is absent."""
    return AliasChoices(f"{PREFIX}{name}", name)


class Settings(BaseSettings):
    """One instance a process, made at its edge and passed on; nothing else reads the environment."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", populate_by_name=True, env_ignore_empty=True
    )

    home: Path = Field(DEFAULT_HOME, description="Folder of the embedded service and of local caches.")
    # Before the URLs, which take them up.
    database_password: SecretStr | None = Field(
        None, description="Password for a database URL that has none; any characters, nothing encoded."
    )
    redis_password: SecretStr | None = Field(None, description="The same for the broker's URL.")
    database_url: SecretStr | None = Field(
        None,
        validation_alias=_accept_short_name("DATABASE_URL"),
        description="PostgreSQL or SQLite; default: `heldout.db` in home.",
    )
    redis_url: SecretStr | None = Field(
        None, validation_alias=_accept_short_name("REDIS_URL"), description="The Celery broker; absent means embedded."
    )
    blobs: str | None = Field(
        None, description="Blob store, `file:///…` or `s3://bucket/prefix`; default: `blobs` in home."
    )
    secrets_key: SecretStr | None = Field(
        None, min_length=16, description="Seals webhooks' secrets in the database; default: `secrets-key` in home."
    )
    host: str = Field("127.0.0.1", description="Address that the API listens on.")
    port: int = Field(
        8000, ge=0, le=65_535, validation_alias=_accept_short_name("PORT"), description="0 picks a free one."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", validation_alias=_accept_short_name("LOG_LEVEL"), description="`DEBUG`, `INFO`, `WARNING` or `ERROR`."
    )

    max_connections: int = Field(
        2000,
        ge=10,
        le=100_000,
        description="Connections to the API at once; a new one takes the place of one that waits for a request, the "
        "oldest first. 64 more are kept for probes. Fewer where the system allows fewer open files.",
    )
    max_connections_per_address: int = Field(
        500, ge=1, le=100_000, description="The same from one address, unless it is a proxy's."
    )
    trusted_proxies: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (),
        description="Addresses and networks of proxies, whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed, "
        'as JSON: `["127.0.0.1", "172.16.0.0/12"]`. See [TLS](../how-to/tls.md).',
        examples=[["172.16.0.0/12"]],
    )
    head_timeout_s: Seconds = Field(10, description="Within this a request's headers must be there; else 408.")
    min_body_rate: float = Field(
        1000,
        gt=0,
        le=1e9,
        description="Bytes a second below which a body is too slow (408), and a client that takes a large answer "
        "(cut off); a pause of 30 s is none.",
    )
    api_metrics_port: int | None = Field(
        None,
        ge=1,
        le=65_535,
        description="Port of the API's Prometheus metrics; default: `/metrics` at its own port.",
        examples=[9091],
    )

    predict_url: str | None = Field(
        None,
        pattern=r"^http://[^/]+$",
        description="Where processes for predictions listen, such as `http://predict:8000`; the API passes requests on "
        "to them. `heldout up` starts its own.",
    )
    predict_processes: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes of one `python -m predict`; each takes its share of the cores.",
    )
    predict_cache_bytes: int = Field(
        512 * MIB, ge=0, description="Memory that the models of one such process may take; the ones used least go."
    )
    predict_idle_s: float = Field(
        600,
        ge=1,
        description="After so long without a request `heldout up` ends its process for predictions.",
    )

    lease_s: Seconds = Field(60, description="How long a worker holds a job without renewing it.")
    heartbeat_s: Seconds = Field(10, description="How often a worker renews its leases and writes progress.")
    poll_s: Seconds = Field(0.5, description="How often requests (cancel, pause) and waiting clients are looked up.")
    reconcile_s: Seconds = Field(15, description="How often lost and forgotten jobs are looked for.")
    keep_state_s: float = Field(
        7 * 86_400, ge=0, le=366 * 86_400, description="How long a job that has ended can go on for more epochs."
    )
    keep_jobs_s: float | None = Field(
        None,
        ge=60,
        description="How long jobs and studies are kept after their end, with files and events; absent: for ever. "
        "A study's jobs go with it, never before.",
    )
    keep_events_s: float | None = Field(
        None, ge=60, description="How long events are kept once their subject has ended; absent: as long as that."
    )
    keep_audit_s: float = Field(
        365 * 86_400, ge=86_400, le=10 * 366 * 86_400, description="How long entries of the activity log are kept."
    )
    slots: int | None = Field(
        None, ge=1, le=64, description="Jobs that a worker runs at once; default: its GPUs, or else its cores."
    )

    worker_memory_share: float = Field(
        0.9, gt=0, le=1, description="Share of its machine's or container's memory that a worker gives to its jobs."
    )

    calibrate: bool = Field(
        True,
        description="An idle worker measures once how fast its machine trains; without that no time is estimated, "
        "except when a job starts, once a training has ended.",
    )

    check_labels: bool = Field(
        True,
        description="Once a new dataset's copies are known, a worker looks for its wrong labels. A training that waits "
        "ends that, and it begins again later.",
    )

    worker_name: str | None = Field(None, max_length=64, description="What this worker is called; default: its host.")
    stop_with_stdin: bool = Field(False, description="A worker stops when its standard input ends.")

    metrics_port: int | None = Field(None, ge=1, le=65_535, description="Port of a worker's Prometheus metrics.")

    max_parameters: int = Field(50_000_000, ge=1, description="Largest network that is accepted, in parameters.")
    max_body_bytes: int = Field(1024 * 1024, ge=1024, description="Largest JSON body.")
    max_predictions_bytes: int = Field(
        64 * 1024 * 1024, ge=1024, description="Largest file of predictions, and its arrays decompressed."
    )
    max_upload_bytes: int = Field(2 * GIB, ge=1024, description="Largest upload of a dataset.")
    max_upload_s: int = Field(6 * 3600, ge=1, le=7 * 86_400, description="Seconds that an upload may take.")
    min_upload_bytes_per_s: int = Field(
        4096, ge=0, description="An upload that is slower than this for 20 seconds is broken off."
    )
    max_model_bytes: int = Field(512 * MIB, ge=1024, description="Largest upload of a model.")
    max_predict_bytes: int = Field(
        64 * MIB, ge=1024, le=GIB, description="Largest request for predictions: its images, as they are sent."
    )
    max_normalised_bytes: int = Field(8 * GIB, ge=1024, description="Largest dataset once its images are decoded.")
    max_ingest_s: int = Field(3600, ge=1, le=86_400, description="Seconds that the ingest of an upload may take.")
    cache_bytes: int = Field(
        32 * GIB, ge=0, description="Disk that a worker's copies of datasets may take, where blobs are remote."
    )
    datasets: Path = Field(
        Path("/usr/share/datasets"),
        description="Folder in which the operator puts files of bundled datasets.",
    )
    fetch: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (),
        description='Bundled datasets that a worker may download through Keras, as JSON: `["cifar10"]`.',
        examples=[["cifar10"]],
    )

    # What one owner may take, where nothing else is set by `heldout owners limit`.
    quota_queued_jobs: int = Field(10_000, ge=0, description="Jobs of one owner that may wait.")
    quota_running_jobs: int | None = Field(
        None, ge=0, description="Jobs of one owner that run at once, others wait; default: as many as there are slots."
    )
    quota_slot_seconds: int | None = Field(
        None, ge=0, description="Slot-seconds that jobs of one owner may take in a day (UTC); default: no bound."
    )
    quota_datasets: int = Field(1000, ge=0, description="Versions of datasets that one owner may have.")
    quota_studies: int = Field(1000, ge=0, description="Studies of one owner that are kept.")
    quota_spec_bytes: int = Field(
        256 * MIB, ge=0, description="Bytes that specs of one owner's jobs and studies may take, each above 4 KiB."
    )
    quota_stored_bytes: int = Field(
        200 * GIB,
        ge=0,
        description="Bytes that one owner's datasets, unpacked, with what lies beside them, and models may take.",
    )
    quota_keys: int = Field(100, ge=0, description="Valid API keys of one owner.")
    quota_webhooks: int = Field(20, ge=0, description="Webhooks of one owner.")
    quota_uploads: int = Field(8, ge=0, description="Uploads of one owner at once.")
    quota_streams: int = Field(1000, ge=0, description="Streams of events of one owner at once.")
    rate: str = Field(
        "1000/second", description="Requests that one key may send, as `100/second`, `5000/minute` or both with `;`."
    )

    webhook_allow: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (),
        description="Hosts, addresses and networks that webhooks may lead to though not public, over http too, "
        'as JSON: `["hooks.internal", "10.0.0.0/8"]`.',
        examples=[["hooks.internal"]],
    )

    @field_validator("rate", mode="after")
    @classmethod
    def _readable_rate(cls, rate: str) -> str:
        if not RATE.fullmatch(rate):
            raise ValueError(f"Received {rate!r}; expected such as '100/second' or '100/second;5000/minute'.")
        return rate

    @field_validator("webhook_allow", mode="after")
    @classmethod
    def _hosts_or_networks(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        Allowed.of(entries)
        return entries

    @field_validator("trusted_proxies", mode="after")
    @classmethod
    def _networks(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for entry in entries:
            ip_network(entry)
        return entries

    @field_validator("database_url", mode="after")
    @classmethod
    def _known_driver(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None:
            return None
        found = make_driver_url(url.get_secret_value())
        if not is_of_a_database(found):
            raise ValueError("expected sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/NAME")
        return SecretStr(found)

    @field_validator("redis_url", mode="after")
    @classmethod
    def _broker(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and "://" not in url.get_secret_value():
            raise ValueError("expected such as redis://HOST:6379/0")
        return url

    @field_validator("blobs", mode="after")
    @classmethod
    def _blob_store(cls, url: str | None) -> str | None:
        if url is not None and "://" not in url:
            raise ValueError("expected file:///FOLDER or s3://BUCKET/PREFIX")
        return url

    @field_validator("database_url", "redis_url", mode="after")
    @classmethod
    def _with_password(cls, url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        password = info.data.get(f"{str(info.field_name).removesuffix('_url')}_password")
        if url is None or password is None:
            return url
        return SecretStr(add_password(url.get_secret_value(), password.get_secret_value()))

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, level: object) -> object:
        return level.upper() if isinstance(level, str) else level

    @property
    def home_path(self) -> Path:
        return self.home.expanduser().absolute()

    @property
    def database(self) -> str:
        """The SQLAlchemy URL, secrets included: never log it."""
        if self.database_url is None:
            return f"sqlite:///{self.home_path / 'heldout.db'}"
        return self.database_url.get_secret_value()

    @property
    def blobs_url(self) -> str:
        return self.blobs or (self.home_path / "blobs").as_uri()

    @property
    def quotas(self) -> Bounds:
        """What one owner may take, where nothing else is set for it."""
        return {quota: getattr(self, f"quota_{quota.value}") for quota in Quota}

    @property
    def worker_slots(self) -> int:
        return self.slots or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else self.slots or 1


def make_embedded_settings(home: Path, port: int | None = None) -> Settings:
    """Settings of `heldout up`: everything lives in `home`; ambient DATABASE_URL, REDIS_URL and the like are ignored.

    `HELDOUT_PORT` and the other tuning variables still count; what decides where data goes does not.
    """
    home = home.expanduser().absolute()
    chosen: int | str = port if port is not None else os.environ.get("HELDOUT_PORT") or 8000
    return Settings(
        home=home,
        database_url=SecretStr(f"sqlite:///{home / 'heldout.db'}"),
        redis_url=None,
        blobs=(home / "blobs").as_uri(),
        port=chosen,  # a text as that of the environment is: the settings read it
        log_level=os.environ.get("HELDOUT_LOG_LEVEL") or "INFO",
    )
