# The sealed image. `make image PROFILE=cpu` (ops/image) creates the build context and runs buildah. Other
# builders can use the same context:
#
#   ops/image --profile cpu --stage-only          # prints the context's folder
#   DOCKER_BUILDKIT=1 docker build CONTEXT        # or: podman build CONTEXT
#
# The final stage starts from scratch, so that the layers that change least often can be the lowest:
# weights, operating system, packages, our code. A new base then does not change the layers of the weights.
#
# Optional secrets pass this host's registry settings to the build; none is stored in the image:
#   apt   a deb822 sources file          ca    CA certificates, PEM          pip   a pip.conf

ARG BASE=debian:bookworm-slim

# --- operating system
FROM ${BASE} AS os
ENV DEBIAN_FRONTEND=noninteractive PYTHONHASHSEED=0 SOURCE_DATE_EPOCH=0
# The program espeak-ng provides phonemes for words that the dictionary lacks, and the voices of the
# acceptance test; llama.cpp needs libgomp1.
RUN --mount=type=secret,id=apt,target=/etc/apt/sources.list.d/host.sources \
    apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends \
        ca-certificates espeak-ng libgomp1 libstdc++6 python3.11 zlib1g \
    # File times are not kept in the layers, so a .pyc that is validated by time would never be used.
    && python3.11 -m compileall -q -f --invalidation-mode checked-hash /usr/lib/python3.11 \
    && printf 'voice:x:10001:10001::/tmp:/usr/sbin/nologin\n' >>/etc/passwd \
    && printf 'voice:x:10001:\n' >>/etc/group \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* /var/backups/* /tmp/* /root/.[!.]* \
        /etc/*- /usr/share/man/* /usr/share/info/* /usr/share/locale/* \
    && rm -rf /run/lock \
    # podman gives a tmpfs the mode of the folder that it is mounted on.
    && chmod 1777 /run \
    && find /usr/share/doc -type f ! -name copyright -delete \
    && find /usr/share/doc -mindepth 1 -type d -empty -delete

# --- Python packages: pip is installed in a separate folder, which is not copied to the final stage
FROM os AS packages
ARG PROFILE=cpu
# On the gpu profile Triton's driver module is compiled here, because Triton would look for a compiler
# at run time; see triton_cache.py.
RUN --mount=type=secret,id=apt,target=/etc/apt/sources.list.d/host.sources \
    apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends python3.11-venv \
        $([ "$PROFILE" != gpu ] || echo gcc libc6-dev python3.11-dev) \
    && python3.11 -m venv /pip \
    && python3.11 -m venv --without-pip /opt/voice/venv
COPY requirements/ /requirements/
COPY code/appliance/engines/llm/vllm/triton_cache.py /
# Install every lock of the profile: PROFILE.txt, and PROFILE-*.txt for packages that are resolved
# separately. Each lock is complete, hence --no-deps. At the end, move CUDA and PyTorch (gpu profile only) to
# folders for their own layers, because they change less often. Do so in the same step, because a later step
# would store them twice.
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
    # Some of vLLM's packages contain templates that are not valid Python. Ignore them, as pip does.
    && { python3.11 -m compileall -q --invalidation-mode checked-hash /$site || true; } \
    && if [ "$PROFILE" = gpu ]; then \
        TRITON_HOME=/tmp PYTHONDONTWRITEBYTECODE=1 /opt/voice/venv/bin/python /triton_cache.py; fi \
    && mkdir -p /split/cuda/$site /split/torch/$site /split/rest/opt/voice \
    && cd /$site \
    && for package in nvidia nvidia_*; do [ ! -e "$package" ] || mv "$package" /split/cuda/$site; done \
    && for package in torch torch-* triton triton-*; do \
        [ ! -e "$package" ] || mv "$package" /split/torch/$site; done \
    && mv /opt/voice/venv /split/rest/opt/voice/

# --- the list of the packages' files; in a stage of its own, because our code changes more often
FROM packages AS listed
COPY code/appliance/code_seal.py /
RUN python3.11 -I -S -B /code_seal.py list /split/cuda /split/torch /split/rest >/packages.list

# --- our code, the lock with which every start compares the model files, and code.list with which it compares
# our code, the packages, and the operating system's programs and libraries
FROM os AS code
COPY code/ /opt/voice/
RUN python3.11 -m compileall -q --invalidation-mode checked-hash /opt/voice/appliance /opt/voice/client
COPY --from=listed /packages.list /tmp/
RUN python3.11 -I -S -B /opt/voice/appliance/code_seal.py join /tmp/packages.list >/tmp/code.list \
    && mv /tmp/code.list /opt/voice/code.list && rm /tmp/packages.list

# --- the image
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
# The language model in the weights folders; ops/image writes its name here.
ARG MODEL
LABEL org.opencontainers.image.title="voice appliance" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.licenses="Apache-2.0" \
    voice.profile="${PROFILE}"
# Only variables that must be set before Python starts; appliance/offline.py sets those that keep libraries
# offline. NVIDIA_* configure the mounts of NVIDIA's container runtime; CDI ignores them. TRITON_CACHE_MANAGER
# is explained in triton_cache.py. TRITON_LIBCUDA_PATH replaces Triton's search for libcuda with ldconfig,
# which may not find it.
ENV PATH=/opt/voice/venv/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    VOICE_PROFILE=${PROFILE} \
    VOICE_LLM_MODEL=${MODEL} \
    VOICE_PATHS_RUN=/run/voice \
    VOICE_PATHS_WEIGHTS=/opt/voice/weights \
    VOICE_PATHS_LOCK=/opt/voice/image-manifest.lock \
    VOICE_GATEWAY_HOST=0.0.0.0 \
    VOICE_GATEWAY_TOKEN_FILE=/run/secrets/voice-token \
    VOICE_GATEWAY_TLS_CERTIFICATE=/run/secrets/tls/chain.pem \
    VOICE_GATEWAY_TLS_KEY=/run/secrets/tls/key.pem \
    VOICE_GATEWAY_START_CLOSED_FILE=/run/voice-host/start-closed \
    VOICE_EXPORTER_HOST=0.0.0.0 \
    TRITON_CACHE_MANAGER=appliance.engines.llm.vllm.triton_cache:SealedFirst \
    TRITON_LIBCUDA_PATH=/usr/lib/x86_64-linux-gnu \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /opt/voice
USER 10001:10001
EXPOSE 8765 9465
# The OCI format cannot store a health check; there it comes from ops/container.flags.
HEALTHCHECK --interval=30s --timeout=10s --start-period=300s CMD ["python", "-m", "appliance", "health"]
# Verifies code.list before `boot`, without loading anything of it; see appliance/code_seal.py.
ENTRYPOINT ["/usr/bin/python3.11", "-I", "-S", "-B", "/opt/voice/appliance/code_seal.py", "start"]
CMD ["boot"]
