# docker build -t wxbridge .                  (or: make image)
#   Mirrors are yours to name: --build-arg DEBIAN_MIRROR=http://HOST/debian --build-arg PIP_INDEX_URL=https://HOST/simple
# docker run --rm --network host wxbridge demo --auto-scan      # against the simulator that ships with it
# docker run -d --restart unless-stopped -p 127.0.0.1:8080:8080 -v wxbridge:/var/lib/wxbridge \
#   -v ./jobs.yaml:/etc/wxbridge/jobs.yaml:ro -e WXBRIDGE_LISTEN=0.0.0.0:8080 -e WXBRIDGE_TOKEN=… wxbridge
# Beyond loopback, which is all that `-p` reaches, the bridge wants a token: hence the two variables.

FROM debian:trixie-slim AS build
ARG DEBIAN_MIRROR=
ARG PIP_INDEX_URL=
RUN if [ -n "$DEBIAN_MIRROR" ]; then sed -i "s|http://deb.debian.org/debian$|$DEBIAN_MIRROR|" /etc/apt/sources.list.d/debian.sources; fi \
 && apt-get update \
 && apt-get install -y --no-install-recommends python3-venv ca-certificates \
 && rm -rf /var/lib/apt/lists/*
# A venv, since Debian's own Python is not for pip to write to (PEP 668). The second stage has it in the same place.
RUN python3 -m venv /opt/wxbridge
WORKDIR /src
# First the dependencies alone, with a package that is nothing but its version: a layer that changes of the code keep.
COPY pyproject.toml README.md LICENSE jobs.yaml ./
COPY wxbridge/__init__.py wxbridge/
RUN if [ -z "$PIP_INDEX_URL" ]; then unset PIP_INDEX_URL; fi; /opt/wxbridge/bin/pip install --no-cache-dir '.[all]'
COPY wxbridge wxbridge
# What a container never uses goes: pip, tests of packages, playwright's own Node.js (Debian's is below, and does the same).
RUN if [ -z "$PIP_INDEX_URL" ]; then unset PIP_INDEX_URL; fi; /opt/wxbridge/bin/pip install --no-cache-dir --no-deps --force-reinstall . \
 && /opt/wxbridge/bin/pip uninstall -y pip setuptools \
 && cd /opt/wxbridge/lib/python3*/site-packages \
 && rm -rf playwright/driver/node playwright/driver/package/lib/vite sqlalchemy/testing \
 && find . -type d -name tests -prune -exec rm -rf {} + \
 # Builders round the times of files, which would have Python compile half of them again at every start.
 && /opt/wxbridge/bin/python -m compileall -q -f -j 0 --invalidation-mode unchecked-hash .

FROM debian:trixie-slim
# Chromium depends on what draws in windows, and draws by itself here: it never loads Mesa's drivers, which bring LLVM, nor
# keyboard layouts, nor the layer that checks Vulkan programs; nobody converts character sets by glibc's tables or installs
# packages of Node.js. The files alone go, so that apt can go on in an image made from this one.
ARG DEBIAN_MIRROR=
RUN if [ -n "$DEBIAN_MIRROR" ]; then sed -i "s|http://deb.debian.org/debian$|$DEBIAN_MIRROR|" /etc/apt/sources.list.d/debian.sources; fi \
 && apt-get update \
 && apt-get install -y --no-install-recommends \
      python3 ca-certificates chromium-headless-shell fonts-wqy-microhei nodejs tini \
 && rm -rf /usr/lib/*/dri /usr/lib/*/libgallium-* /usr/lib/*/libLLVM* /usr/lib/*/libz3.so* \
      /usr/lib/chromium/libVkLayer_khronos_validation.so /usr/lib/*/gconv /usr/share/X11 \
      /usr/share/nodejs/corepack /usr/share/nodejs/@types \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* /var/cache/fontconfig/* \
 && useradd --uid 10001 --user-group --home-dir /var/lib/wxbridge --shell /usr/sbin/nologin wxbridge \
 && install -d -o wxbridge -g wxbridge /var/lib/wxbridge /var/lib/wxbridge/res \
 && install -d /etc/wxbridge \
 # What a jobs.yaml keeps beside itself (`state_dir: ./state`, `archive: res/…`) goes to the volume, too.
 && ln -s /var/lib/wxbridge /etc/wxbridge/state \
 && ln -s /var/lib/wxbridge/res /etc/wxbridge/res
COPY --from=build /opt/wxbridge /opt/wxbridge
COPY deploy/healthcheck.py /opt/wxbridge/
COPY jobs.yaml /etc/wxbridge/jobs.yaml
ENV PATH=/opt/wxbridge/bin:$PATH \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PLAYWRIGHT_NODEJS_PATH=/usr/bin/node \
    WXBRIDGE_CONFIG=/etc/wxbridge/jobs.yaml
# By number, so that Kubernetes' runAsNonRoot can see that it is not root.
USER 10001:10001
WORKDIR /var/lib/wxbridge
VOLUME /var/lib/wxbridge
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["python3", "/opt/wxbridge/healthcheck.py"]
# tini reaps what a killed Chromium leaves behind; as process 1 Python would let it pile up.
ENTRYPOINT ["/usr/bin/tini", "--", "wxbridge"]
CMD ["run"]
