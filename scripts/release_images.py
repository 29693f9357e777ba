"""Builds the images of a release, lists what is in them, and brings the stack up from the release's files alone."""

import gzip
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What the images are called instead of `heldout`, such as `ghcr.io/owner/heldout`: then others can pull them.
NAME_VARIABLE = "HELDOUT_RELEASE_IMAGE"
# The targets of the Dockerfile that a release has, and the variables that name their images in docker-compose.yml.
TARGETS = {"cpu": "HELDOUT_IMAGE", "proxy": "HELDOUT_PROXY_IMAGE"}
ARCHIVE = "images.tar.gz"
# Prints what an image has as JSON: pairs of a name and a version, of Debian and of Python.
LIST = r"""
set -e
dpkg-query --show --showformat '["deb", "${Package}", "${Version}"]\n'
for python in /opt/venv/bin/python; do
    [ ! -x $python ] || $python -c '
import importlib.metadata, json
for found in importlib.metadata.distributions(): print(json.dumps(["pypi", found.name, found.version]))'
done
"""
SECRETS = ("HELDOUT_SECRETS_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD")


def build(source: Path, dist: Path, *, base_by_name: bool, host_network: bool) -> None:
    """Build the images from a clean copy of the sources; write their archive, lists of packages and Compose file.

    Args:
        base_by_name: accept base images without a digest, where no registry has them.
        host_network: let builds use this machine's network.
    """
    done = subprocess.run([ROOT / "scripts" / "pin-images"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode and not base_by_name:
        sys.exit(f"{done.stderr.strip()}\nheldout: ARGS=--base-by-name builds with them as they are here")
    pinned = dict(line.split("=", 1) for line in done.stdout.splitlines()) if done.returncode == 0 else {}
    written = dist / "docker-compose.yml"
    compose = (written if pinned else ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    name = os.environ.get(NAME_VARIABLE, "heldout")
    compose = rename_images(remove_builds(compose), name)
    written.write_text(compose, encoding="utf-8")
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    (dist / "env.example").write_text(rename_images(example, name), encoding="utf-8")
    images = read_images(compose)
    for target, image in images.items():
        print(f"Building the image {image}", flush=True)
        base = [f"--build-arg=PYTHON_IMAGE={pinned['PYTHON_IMAGE']}"] if pinned else []
        network = ["--network=host"] if host_network else []
        _docker("build", "--quiet", *base, *network, "--target", target, "--tag", image, str(source))
        write_sbom(image, dist / f"sbom-image-{target}.cdx.json")
    save = subprocess.Popen(["docker", "save", *images.values()], stdout=subprocess.PIPE)
    assert save.stdout is not None
    with (dist / ARCHIVE).open("wb") as file, gzip.GzipFile("", "wb", 1, fileobj=file, mtime=0) as packed:
        shutil.copyfileobj(save.stdout, packed, 1024 * 1024)
    if save.wait():
        sys.exit("heldout: the images could not be saved")


def read_images(compose: str) -> dict[str, str]:
    """Return the names of the images that are built, by target."""
    named = dict(re.findall(r"\$\{(\w+_IMAGE):-([^}]*)\}", compose))
    return {target: named[variable] for target, variable in TARGETS.items()}


def remove_builds(compose: str) -> str:
    """Remove what says how images are built: a release has them, and no sources."""
    without = re.sub(r"^ +(?:# Built here once.*|build: .*)\n", "", compose, flags=re.MULTILINE)
    without = re.sub(r"^x-build: .*\n(?: .*\n)*\n?", "", without, flags=re.MULTILINE)
    return without.replace("docker compose up --detach --build", "docker compose up --detach")


def rename_images(text: str, name: str) -> str:
    """Replace the name `heldout` of images; tags stay."""
    return re.sub(r"\bheldout:(?=\d[\w.]*-(?:cpu|gpu|proxy)\b)", f"{name}:", text)


def write_sbom(image: str, target: Path) -> None:
    """List an image's packages of Debian and Python in CycloneDX, without what differs between two runs."""
    # Only `scripts/setup release` installs these.
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    from packageurl import PackageURL

    printed = _docker("run", "--rm", "--user", "0", "--entrypoint", "sh", image, "-c", LIST)
    found = sorted({(kind, name, version) for kind, name, version in map(json.loads, printed.splitlines())})
    digest = _docker("image", "inspect", "--format", "{{.Id}}", image).strip().removeprefix("sha256:")
    about = Component(
        name=image.rpartition(":")[0],
        version=image.rpartition(":")[2],
        type=ComponentType.CONTAINER,
        bom_ref=image,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
    )
    components = [
        Component(
            name=name,
            version=version,
            type=ComponentType.LIBRARY,
            bom_ref=f"{kind}:{name}@{version}",
            purl=PackageURL(kind, "debian" if kind == "deb" else None, name, version),
        )
        for kind, name, version in found
    ]
    bom = Bom(components=components, metadata=BomMetaData(component=about))
    bom.register_dependency(about, components)
    content = json.loads(JsonV1Dot6(bom).output_as_string())
    content.pop("serialNumber", None)
    content["metadata"].pop("timestamp", None)
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    if (fault := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)) is not None:
        sys.exit(f"heldout: {target.name} is not valid CycloneDX: {fault}")
    target.write_text(text, encoding="utf-8")


def run(dist: Path) -> None:
    """Load the images, bring the stack up from `dist` alone, ask it for what it serves, and take it down."""
    with tempfile.TemporaryDirectory(prefix="hr-") as name:
        folder = Path(name)
        for file in ("docker-compose.yml", "env.example", ARCHIVE):
            shutil.copy(dist / file, folder)
        text = (folder / "env.example").read_text(encoding="utf-8")
        for variable in SECRETS:
            text = text.replace(f"{variable}=\n", f"{variable}={secrets.token_urlsafe(24)}\n")
        (folder / ".env").write_text(text + "HELDOUT_PORT=0\n", encoding="utf-8")
        for image in read_images((folder / "docker-compose.yml").read_text(encoding="utf-8")).values():
            _docker("image", "rm", "--force", image)
        _docker("load", "--input", str(folder / ARCHIVE))
        project = ("compose", "--ansi=never", f"--project-name=heldout-release-{os.getpid()}")
        try:
            _docker(*project, "up", "--detach", "--no-build", "--wait", "--wait-timeout", "240", cwd=folder)
            address = _docker(*project, "port", "api", "8000", cwd=folder).strip()
            for path, expected in (("/", "<div id="), ("/manual/", "Heldout"), ("/client/", "pip install")):
                with urllib.request.urlopen(f"http://{address}{path}", timeout=60) as answer:
                    if expected not in answer.read().decode("utf-8", "replace"):
                        sys.exit(f"heldout: {path} of the release's containers does not have {expected!r}")
        finally:
            _docker(*project, "down", "--volumes", "--remove-orphans", cwd=folder)
    print("The stack runs in containers from these files alone", flush=True)


def _docker(*words: str, cwd: Path = ROOT) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HELDOUT_", "COMPOSE_"))}
    done = subprocess.run(["docker", *words], cwd=cwd, env=kept, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(
            f"heldout: docker {' '.join(words)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}"
        )
    return done.stdout
