# docker build -t wxbridge .
# docker run --rm --network host wxbridge demo --auto-scan      # against the simulator that ships with it
# docker run -d --restart unless-stopped -p 127.0.0.1:8080:8080 -v wxbridge:/var/lib/wxbridge \
#   -v ./jobs.yaml:/etc/wxbridge/jobs.yaml:ro -e WXBRIDGE_LISTEN=0.0.0.0:8080 -e WXBRIDGE_TOKEN=… wxbridge
# Beyond loopback, which is all that `-p` reaches, the bridge wants a token: hence the two variables.

FROM debian:bookworm-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-venv ca-certificates \
 && rm -rf /var/lib/apt/lists/*
# A venv, since Debian's own Python is not for pip to write to (PEP 668). The second stage has it in the same place.
RUN python3 -m venv /opt/wxbridge
WORKDIR /src
# First the dependencies alone, with a package that is nothing but its version: a layer that changes of the code keep.
COPY pyproject.toml README.md LICENSE jobs.yaml ./
COPY wxbridge/__init__.py wxbridge/
RUN /opt/wxbridge/bin/pip install --no-cache-dir '.[all]'
COPY wxbridge wxbridge
RUN /opt/wxbridge/bin/pip install --no-cache-dir --no-deps --force-reinstall . \
 && /opt/wxbridge/bin/pip uninstall -y pip setuptools

FROM debian:bookworm-slim
# libatomic1: the Node.js inside the playwright package wants it, and pip cannot say so.
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      python3 ca-certificates chromium-headless-shell fonts-wqy-microhei libatomic1 tini \
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
