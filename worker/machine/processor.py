"""The processor of this machine, as the operating system describes it."""

import platform
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Processor:
    """model: another one may have other vector instructions, which change last digits and speed.

    vendor: as the processor names it, such as `AuthenticAMD`; empty where the operating system does not say.
    flags: what it can do, by the names that Linux gives it.
    """

    model: str
    vendor: str
    flags: frozenset[str]


def this_processor() -> Processor:
    """The processor on which this process runs."""
    cpuinfo = ""
    with suppress(OSError):
        cpuinfo = Path("/proc/cpuinfo").read_text()
    return processor_in(cpuinfo)


def processor_in(cpuinfo: str) -> Processor:
    """The first processor in the text of Linux's /proc/cpuinfo. Its flags are `flags` on x86 and `Features` on ARM."""
    found: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    model = found.get("model name") or platform.processor() or platform.machine()
    flags = found.get("flags") or found.get("Features") or ""
    return Processor(model, found.get("vendor_id", ""), frozenset(flags.split()))
