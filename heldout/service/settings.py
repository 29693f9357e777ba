"""All settings of the service, read from the environment: `HELDOUT_*` and a few common names."""

import os
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from heldout.access.rights import Bounds, Quota
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
    """Accept `HELDOUT_X`, or `X` if that is absent."""
    return AliasChoices(f"{PREFIX}{name}", name)


class Settings(BaseSettings):
    """The settings of a process, created once at its entry point and passed on; no other code reads the environment."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", populate_by_name=True, env_ignore_empty=True
    )

    home: Path = Field(DEFAULT_HOME, description="Folder of the embedded service and of local caches.")
    # Declared before the URLs because their validator reads these passwords.
    database_password: SecretStr | None = Field(
        None, description="Password for a database URL without one; any characters, not encoded."
    )
    redis_password: SecretStr | None = Field(None, description="Password for a broker URL without one.")
    database_url: SecretStr | None = Field(
        None,
        validation_alias=_accept_short_name("DATABASE_URL"),
        description="URL of a PostgreSQL or SQLite database; default: `heldout.db` in home.",
    )
    redis_url: SecretStr | None = Field(
        None,
        validation_alias=_accept_short_name("REDIS_URL"),
        description="URL of the Celery broker; absent means embedded.",
    )
    blobs: str | None = Field(
        None, description="Blob store: `file:///…` or `s3://bucket/prefix`; default: `blobs` in home."
    )
    secrets_key: SecretStr | None = Field(
        None, min_length=16, description="Encrypts webhook secrets in the database; default: `secrets-key` in home."
    )
    host: str = Field("127.0.0.1", description="Address on which the API listens.")
    port: int = Field(
        8000,
        ge=0,
        le=65_535,
        validation_alias=_accept_short_name("PORT"),
        description="Port on which the API listens; 0 picks a free one.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO",
        validation_alias=_accept_short_name("LOG_LEVEL"),
        description="Least severe messages to log: `DEBUG`, `INFO`, `WARNING` or `ERROR`.",
    )

    max_connections: int = Field(
        2000,
        ge=10,
        le=100_000,
        description="Open connections to the API. Beyond that, a new connection replaces the oldest idle one. 64 more "
        "are reserved for probes. Lower if the system allows fewer open files.",
    )
    max_connections_per_address: int = Field(
        500, ge=1, le=100_000, description="Open connections from one address, unless it is a trusted proxy."
    )
    trusted_proxies: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (),
        description="Addresses and networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are trusted, "
        'as JSON: `["127.0.0.1", "172.16.0.0/12"]`. See [TLS](../how-to/tls.md).',
        examples=[["172.16.0.0/12"]],
    )
    head_timeout_s: Seconds = Field(10, description="Time within which a request's headers must arrive; otherwise 408.")
    min_body_rate: float = Field(
        1000,
        gt=0,
        le=1e9,
        description="Bytes per second below which a body is too slow (408), or a client that reads a large response "
        "is cut off. Pauses of up to 30 s are allowed.",
    )
    api_metrics_port: int | None = Field(
        None,
        ge=1,
        le=65_535,
        description="Port for the API's `/metrics`, which is then not on its own port; default: its own port.",
        examples=[9091],
    )

    predict_url: str | None = Field(
        None,
        pattern=r"^http://[^/]+$",
        description="URL of the prediction processes, such as `http://predict:8000`. `heldout up` starts its own.",
    )
    predict_processes: int = Field(
        1, ge=1, le=64, description="Number of processes of one `python -m predict`, which share the cores."
    )
    predict_cache_bytes: int = Field(
        512 * MIB, ge=0, description="Memory for models of one prediction process; the least recently used go first."
    )
    predict_idle_s: float = Field(
        600, ge=1, description="Time without a request after which `heldout up` ends its prediction process."
    )

    lease_s: Seconds = Field(60, description="How long a worker holds a job without renewing it.")
    heartbeat_s: Seconds = Field(10, description="How often a worker renews its leases and writes progress.")
    poll_s: Seconds = Field(0.5, description="How often to check for requests (cancel, pause) and waiting clients.")
    reconcile_s: Seconds = Field(15, description="How often to look for lost and forgotten jobs.")
    keep_state_s: float = Field(
        7 * 86_400, ge=0, le=366 * 86_400, description="How long after its end a job can be continued for more epochs."
    )
    keep_jobs_s: float | None = Field(
        None,
        ge=60,
        description="How long jobs and studies are kept after their end, with files and events; absent: forever. "
        "A study's jobs are deleted together with it, never before.",
    )
    keep_events_s: float | None = Field(
        None, ge=60, description="How long events are kept after their subject ends; absent: as long as the subject."
    )
    keep_audit_s: float = Field(
        365 * 86_400, ge=86_400, le=10 * 366 * 86_400, description="How long entries of the activity log are kept."
    )
    slots: int | None = Field(
        None, ge=1, le=64, description="Jobs that a worker runs at once; default: its number of GPUs, or else of cores."
    )

    worker_memory_share: float = Field(
        0.9, gt=0, le=1, description="Share of the machine's or container's memory that a worker gives to its jobs."
    )

    calibrate: bool = Field(
        True,
        description="Whether an idle worker measures once how fast its machine trains. Otherwise no times are "
        "estimated, except for when jobs start once a training has ended.",
    )

    check_labels: bool = Field(
        True,
        description="Whether a worker searches new datasets for wrong labels once their copies are known. A waiting "
        "training interrupts the search, which starts again later.",
    )

    prove_idle_s: float = Field(
        0,
        ge=0,
        le=86_400,
        description="The most seconds that an idle worker spends by itself on short trainings that make sure of a "
        "job's verdict, and never more than the job took; 0: none. All other work interrupts them.",
    )
    features: bool = Field(True, description="Whether workers look at new datasets with the pretrained network.")

    worker_name: str | None = Field(None, max_length=64, description="Name of this worker; default: its host.")
    stop_with_stdin: bool = Field(False, description="Whether a worker stops when its standard input ends.")

    metrics_port: int | None = Field(None, ge=1, le=65_535, description="Port of a worker's Prometheus metrics.")

    max_parameters: int = Field(50_000_000, ge=1, description="Largest network accepted, in parameters.")
    max_body_bytes: int = Field(1024 * 1024, ge=1024, description="Largest JSON body.")
    max_predictions_bytes: int = Field(
        64 * 1024 * 1024, ge=1024, description="Largest file of predictions, also after decompression."
    )
    max_upload_bytes: int = Field(2 * GIB, ge=1024, description="Largest upload of a dataset.")
    max_upload_s: int = Field(6 * 3600, ge=1, le=7 * 86_400, description="Longest time that an upload may take.")
    min_upload_bytes_per_s: int = Field(
        4096, ge=0, description="Bytes per second; an upload that is slower for 20 seconds is aborted."
    )
    max_model_bytes: int = Field(512 * MIB, ge=1024, description="Largest upload of a model.")
    max_predict_bytes: int = Field(
        64 * MIB, ge=1024, le=GIB, description="Largest prediction request: its images as sent."
    )
    max_normalised_bytes: int = Field(8 * GIB, ge=1024, description="Largest dataset after decoding its images.")
    max_ingest_s: int = Field(3600, ge=1, le=86_400, description="Longest time that the ingest of an upload may take.")
    cache_bytes: int = Field(
        32 * GIB, ge=0, description="Disk space for a worker's copies of datasets if blobs are remote."
    )
    feature_cache_bytes: int = Field(
        8 * GIB,
        ge=0,
        description="Disk space in home for the features that frozen parts of networks give, which later jobs of the "
        "same owner use; 0 computes them again in each step.",
    )
    datasets: Path = Field(
        Path("/usr/share/datasets"), description="Folder with the operator's files of bundled datasets."
    )
    pretrained: Literal["efficientnet_lite0", "none"] = Field(
        "efficientnet_lite0", description="The service's pretrained network, if its package is installed; or `none`."
    )
    fetch: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (),
        description='Bundled datasets that a worker may download through Keras, as JSON: `["cifar10"]`.',
        examples=[["cifar10"]],
    )

    keras_url: str = Field(
        "https://storage.googleapis.com",
        pattern=r"^https?://[^\s?#]+[^\s?#/]$",
        description="Where workers fetch what `heldout models add --pretrained` orders: Keras' store, or a mirror.",
    )

    # Default quotas; `heldout owners limit` overrides them for single owners.
    quota_queued_jobs: int = Field(10_000, ge=0, description="Queued jobs per owner.")
    quota_running_jobs: int | None = Field(
        None, ge=0, description="Jobs per owner that run at once (others wait); default: the number of slots."
    )
    quota_slot_seconds: int | None = Field(
        None, ge=0, description="Slot-seconds per owner and day (UTC); default: no limit."
    )
    quota_datasets: int = Field(1000, ge=0, description="Dataset versions per owner.")
    quota_studies: int = Field(1000, ge=0, description="Studies per owner.")
    quota_spec_bytes: int = Field(
        256 * MIB, ge=0, description="Bytes of job and study specs per owner, counting what exceeds 4 KiB each."
    )
    quota_stored_bytes: int = Field(
        200 * GIB, ge=0, description="Bytes per owner for unpacked datasets, the files derived from them, and models."
    )
    quota_keys: int = Field(100, ge=0, description="Valid API keys per owner.")
    quota_webhooks: int = Field(20, ge=0, description="Webhooks per owner.")
    quota_uploads: int = Field(8, ge=0, description="Concurrent uploads per owner.")
    quota_streams: int = Field(1000, ge=0, description="Concurrent event streams per owner.")
    rate: str = Field(
        "1000/second",
        description="Requests that one key may send: `100/second`, `5000/minute`, or both separated by `;`.",
    )

    webhook_allow: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (),
        description="Hosts, addresses and networks that webhooks may use although they are not public, also over http, "
        'as JSON: `["hooks.internal", "10.0.0.0/8"]`.',
        examples=[["hooks.internal"]],
    )

    @field_validator("rate", mode="after")
    @classmethod
    def _check_rate(cls, rate: str) -> str:
        if not RATE.fullmatch(rate):
            raise ValueError(f"Received {rate!r}; expected, for example, '100/second' or '100/second;5000/minute'.")
        return rate

    @field_validator("webhook_allow", mode="after")
    @classmethod
    def _check_hosts_or_networks(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        Allowed.of(entries)
        return entries

    @field_validator("trusted_proxies", mode="after")
    @classmethod
    def _check_networks(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for entry in entries:
            ip_network(entry)
        return entries

    @field_validator("database_url", mode="after")
    @classmethod
    def _check_driver(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None:
            return None
        found = make_driver_url(url.get_secret_value())
        if not is_of_a_database(found):
            raise ValueError("expected sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/NAME")
        return SecretStr(found)

    @field_validator("redis_url", mode="after")
    @classmethod
    def _check_broker(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and "://" not in url.get_secret_value():
            raise ValueError("expected a URL such as redis://HOST:6379/0")
        return url

    @field_validator("blobs", mode="after")
    @classmethod
    def _check_blob_store(cls, url: str | None) -> str | None:
        if url is not None and "://" not in url:
            raise ValueError("expected file:///FOLDER or s3://BUCKET/PREFIX")
        return url

    @field_validator("database_url", "redis_url", mode="after")
    @classmethod
    def _add_password(cls, url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        password = info.data.get(f"{str(info.field_name).removesuffix('_url')}_password")
        if url is None or password is None:
            return url
        return SecretStr(add_password(url.get_secret_value(), password.get_secret_value()))

    @field_validator("log_level", mode="before")
    @classmethod
    def _convert_to_upper_case(cls, level: object) -> object:
        return level.upper() if isinstance(level, str) else level

    @property
    def home_path(self) -> Path:
        return self.home.expanduser().absolute()

    @property
    def database(self) -> str:
        """The SQLAlchemy URL, which includes secrets: never log it."""
        if self.database_url is None:
            return f"sqlite:///{self.home_path / 'heldout.db'}"
        return self.database_url.get_secret_value()

    @property
    def blobs_url(self) -> str:
        return self.blobs or (self.home_path / "blobs").as_uri()

    @property
    def quotas(self) -> Bounds:
        """The quotas of owners without limits of their own."""
        return {quota: getattr(self, f"quota_{quota.value}") for quota in Quota}

    @property
    def worker_slots(self) -> int:
        return self.slots or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else self.slots or 1


def make_embedded_settings(home: Path, port: int | None = None, file: Path | None = None) -> Settings:
    """Make the settings of `heldout up`: all data live in `home`, and DATABASE_URL, REDIS_URL and the like are ignored.

    `HELDOUT_PORT` and other tuning variables still apply; variables that decide where data goes do not.

    Args:
        file: a SQLite file that holds all data instead, blobs included.
    """
    home = home.expanduser().absolute()
    database_url = f"sqlite:///{(file or home / 'heldout.db').absolute()}"
    chosen: int | str = port if port is not None else os.environ.get("HELDOUT_PORT") or 8000
    return Settings(
        home=home,
        database_url=SecretStr(database_url),
        redis_url=None,
        blobs=database_url if file is not None else (home / "blobs").as_uri(),
        port=chosen,  # may be text from the environment, which the settings parse
        log_level=os.environ.get("HELDOUT_LOG_LEVEL") or "INFO",
    )
