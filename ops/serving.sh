# shellcheck shell=bash
# Shared by ops/run and ops/demo: access token, settings, free ports, waiting for readiness.
# Source it after common.sh.

# --- ensure_token: create the access token if there is none, readable only by its owner; set TOKEN_FILE
ensure_token() {
    TOKEN_FILE=$ROOT/.cache/token
    mkdir -p "$ROOT/.cache"
    if [[ ! -s $TOKEN_FILE ]]; then
        (umask 077 && "$VENV/bin/python" -c 'import secrets; print(secrets.token_urlsafe(32))' \
            >"$TOKEN_FILE.partial" && mv "$TOKEN_FILE.partial" "$TOKEN_FILE")
        info "Created an access token: $TOKEN_FILE"
    fi
}

# --- serving_environment: export the settings of an appliance that runs from this folder. The run folder is
#     a temporary one, because sockets need a short path.
serving_environment() {
    RUN_FOLDER=$(mktemp -d "${XDG_RUNTIME_DIR:-/tmp}/voice.XXXXXX")
    export VOICE_PATHS_RUN=$RUN_FOLDER
    export VOICE_PATHS_WEIGHTS=$ROOT/weights
    export VOICE_PATHS_LOCK=$ROOT/image-manifest.lock
    export VOICE_GATEWAY_TOKEN_FILE=$TOKEN_FILE
    export PYTHONDONTWRITEBYTECODE=1
    cd "$ROOT" || return
}

# --- free_ports: print two free ports
free_ports() {
    "$VENV/bin/python" - <<'PY'
import socket

sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(listener.getsockname()[1] for listener in sockets))
PY
}

# --- addresses: print http or https, host and port of the gateway, and host and port of the exporter, from the
#     environment and the file that VOICE_CONFIG names. Prints nothing if a setting is wrong: boot reports it.
addresses() {
    "$VENV/bin/python" - <<'PY'
import os

from appliance.errors import BadSetting
from appliance.settings import load

try:
    settings = load(os.environ)
except BadSetting:
    raise SystemExit(0)
gateway, exporter = settings.gateway, settings.exporter
scheme = "https" if gateway.tls_certificate and not gateway.plain_network else "http"
print(scheme, gateway.host, gateway.port, exporter.host, exporter.port)
PY
}

# --- in_use HOST PORT: whether a program listens there
in_use() {
    "$VENV/bin/python" - "$@" <<'PY'
import errno
import socket
import sys

host, port = sys.argv[1], int(sys.argv[2])
try:
    socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
except OSError as error:
    raise SystemExit(error.errno != errno.EADDRINUSE)
raise SystemExit(1)
PY
}

# --- readiness URL: print "ready", or the components that the appliance waits for
readiness() {
    "$VENV/bin/python" - "$1" <<'PY'
import json
import ssl
import sys
import urllib.error
import urllib.request

# The appliance of this folder, on this machine: its certificate may be of the site's own CA.
trust = ssl._create_unverified_context()
try:
    with urllib.request.urlopen(sys.argv[1] + "/readyz", timeout=2, context=trust):
        print("ready")
except urllib.error.HTTPError as error:
    page = json.load(error)
    closed = page.get("closed") and not page.get("draining")  # ready, and waits for its operator
    print(page.get("waiting_for") or ("ready" if closed else "draining"))
except OSError:
    print("gateway")
PY
}

# --- wait_until_ready URL PID SECONDS: fails if the process exits, or after this time. WAITS_FOR is then what
#     the appliance waits for; it is empty if the process has exited.
wait_until_ready() {
    local url=$1 pid=$2 deadline=$((SECONDS + $3))
    while kill -0 "$pid" 2>/dev/null; do
        WAITS_FOR=$(readiness "$url")
        [[ $WAITS_FOR != ready ]] || return 0
        ((SECONDS < deadline)) || return 1
        sleep 0.5
    done
    WAITS_FOR=''
    return 1
}
