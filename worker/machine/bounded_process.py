"""What every bounded process of a worker starts with: its folder, and the only variables that it inherits."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# It reads strangers' files, so it gets no credentials.
INHERITED_VARIABLES = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "PYTHONPATH",
)
