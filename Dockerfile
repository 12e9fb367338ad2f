# The sealed image. `make image PROFILE=cpu` (ops/image) lays out the build context and calls
# buildah. Any other builder takes the same context:
#
#   ops/image --profile cpu --stage-only          # prints the context's folder
#   DOCKER_BUILDKIT=1 docker build CONTEXT        # or: podman build CONTEXT
#
# The final stage starts from nothing, so that the layers lie in the order in which they change:
# weights, operating system, packages, our code. A new base does not move the weights.
#
# Secrets, all optional, for a host that reaches its registries in its own way; none stays behind:
#   apt   a deb822 sources file          ca    CA certificates, PEM          pip   a pip.conf

ARG BASE=debian:bookworm-slim

# --- operating system
FROM ${BASE} AS os
ENV DEBIAN_FRONTEND=noninteractive PYTHONHASHSEED=0 SOURCE_DATE_EPOCH=0
# espeak-ng, a program of its own, speaks words that the dictionary lacks; libgomp1 is for llama.cpp.
RUN --mount=type=secret,id=apt,target=/etc/apt/sources.list.d/host.sources \
    apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends \
        ca-certificates espeak-ng libgomp1 libstdc++6 python3.11 zlib1g \
    # Layers carry no times, and a .pyc that is checked by time would never be used.
    && python3.11 -m compileall -q -f --invalidation-mode checked-hash /usr/lib/python3.11 \
    && printf 'voice:x:10001:10001::/tmp:/usr/sbin/nologin\n' >>/etc/passwd \
    && printf 'voice:x:10001:\n' >>/etc/group \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* /var/backups/* /tmp/* /root/.[!.]* \
        /etc/*- /usr/share/man/* /usr/share/info/* /usr/share/locale/* \
    && rm -rf /run/lock \
    # podman gives a tmpfs the mode of the folder that it covers.
    && chmod 1777 /run \
    && find /usr/share/doc -type f ! -name copyright -delete \
    && find /usr/share/doc -mindepth 1 -type d -empty -delete

# --- Python packages: pip lives in a folder of its own and is not copied on
FROM os AS packages
ARG PROFILE=cpu
# On the gpu profile Triton's module is compiled here, for which Triton would look for a compiler at
# run time; see triton_cache.py.
RUN --mount=type=secret,id=apt,target=/etc/apt/sources.list.d/host.sources \
    apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends python3.11-venv \
        $([ "$PROFILE" != gpu ] || echo gcc libc6-dev python3.11-dev) \
    && python3.11 -m venv /pip \
    && python3.11 -m venv --without-pip /opt/voice/venv
COPY requirements/ /requirements/
COPY code/appliance/engines/llm/vllm/triton_cache.py /
# Every lock of the profile: PROFILE.txt, and PROFILE-*.txt for what has to go in by itself. Each is
# complete, hence --no-deps. At the end the biggest are put apart, since each changes at its own pace
# (the cpu profile has none of them); in the same step, or they would lie on the disk twice.
RUN --mount=type=secret,id=ca --mount=type=secret,id=pip \
    if [ -f /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
    && if [ -f /run/secrets/pip ]; then export PIP_CONFIG_FILE=/run/secrets/pip; fi \
    && for lock in /requirements/${PROFILE}*.txt; do \
        /pip/bin/pip --python /opt/voice/venv/bin/python install --no-input --no-cache-dir \
            --disable-pip-version-check --no-compile --no-deps --require-hashes \
            --only-binary :all: --requirement "$lock" || exit 1; \
    done \
    && site=opt/voice/venv/lib/python3.11/site-packages \
    && echo /opt/voice >/$site/voice.pth \
    # vLLM's packages carry examples and templates that are no Python of today: as pip does, go on.
    && { python3.11 -m compileall -q --invalidation-mode checked-hash /$site || true; } \
    && if [ "$PROFILE" = gpu ]; then \
        TRITON_HOME=/tmp PYTHONDONTWRITEBYTECODE=1 /opt/voice/venv/bin/python /triton_cache.py; fi \
    && mkdir -p /split/cuda/$site /split/torch/$site /split/rest/opt/voice \
    && cd /$site \
    && for found in nvidia nvidia_*; do [ ! -e "$found" ] || mv "$found" /split/cuda/$site; done \
    && for found in torch torch-* triton triton-*; do \
        [ ! -e "$found" ] || mv "$found" /split/torch/$site; done \
    && mv /opt/voice/venv /split/rest/opt/voice/

# --- our code, and the lock that it is checked against at every start
FROM os AS code
COPY code/ /opt/voice/
RUN python3.11 -m compileall -q --invalidation-mode checked-hash /opt/voice/appliance /opt/voice/client

# --- what is shipped
FROM scratch
# ops/image sorts the sealed files into these folders, largest first; some stay empty.
COPY weights-00/ /opt/voice/weights/
COPY weights-01/ /opt/voice/weights/
COPY weights-02/ /opt/voice/weights/
COPY weights-03/ /opt/voice/weights/
COPY weights-04/ /opt/voice/weights/
COPY weights-05/ /opt/voice/weights/
COPY weights-06/ /opt/voice/weights/
COPY weights-07/ /opt/voice/weights/
COPY weights-08/ /opt/voice/weights/
COPY weights-09/ /opt/voice/weights/
COPY --from=os / /
COPY --from=packages /split/cuda/ /
COPY --from=packages /split/torch/ /
COPY --from=packages /split/rest/ /
COPY --from=code /opt/voice/ /opt/voice/

ARG PROFILE=cpu
ARG VERSION=0
LABEL org.opencontainers.image.title="voice appliance" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.licenses="Apache-2.0" \
    voice.profile="${PROFILE}"
# Only what has to be known before Python starts. What keeps libraries offline is set in
# appliance/offline.py. NVIDIA_* tell NVIDIA's runtime what to hand in; with CDI nobody reads them.
# TRITON_*: triton_cache.py; the path only keeps Triton from asking ldconfig, which may know nothing.
ENV PATH=/opt/voice/venv/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    VOICE_PROFILE=${PROFILE} \
    VOICE_PATHS_RUN=/run/voice \
    VOICE_PATHS_WEIGHTS=/opt/voice/weights \
    VOICE_PATHS_LOCK=/opt/voice/image-manifest.lock \
    VOICE_GATEWAY_HOST=0.0.0.0 \
    VOICE_GATEWAY_TOKEN_FILE=/run/secrets/voice-token \
    VOICE_EXPORTER_HOST=0.0.0.0 \
    TRITON_CACHE_MANAGER=appliance.engines.llm.vllm.triton_cache:SealedFirst \
    TRITON_LIBCUDA_PATH=/usr/lib/x86_64-linux-gnu \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /opt/voice
USER 10001:10001
EXPOSE 8765 9465
# The OCI format has no place for it: there it comes from ops/container.flags.
HEALTHCHECK --interval=30s --timeout=10s --start-period=300s CMD ["python", "-m", "appliance", "health"]
ENTRYPOINT ["python", "-m", "appliance"]
CMD ["boot"]
