"""Instructions for trusting the site's CA, by system. No I/O."""

from __future__ import annotations

from appliance.tls.names import HostNames

_PAGE = """\
Devices trust the appliance once they trust the CA of this site, the file ca.pem:

    on this host: voicectl tls export >ca.pem
    anywhere:     https://{host}:8765/ca.pem

After a download, compare the SHA-256 fingerprint with that of the file on this host:

    openssl x509 -in ca.pem -noout -fingerprint -sha256

The CA is limited to the names of this host and to private addresses. Whoever has its key can pose
as these only.

Our client      voice talk --url wss://{host}:8765/ws --ca ca.pem
                or, for all calls: VOICE_CLIENT_CA=/path/to/ca.pem
Debian, Ubuntu  cp ca.pem /usr/local/share/ca-certificates/voice-appliance.crt
                update-ca-certificates
RHEL, Fedora    cp ca.pem /etc/pki/ca-trust/source/anchors/voice-appliance.pem
                update-ca-trust
Windows         certutil -addstore -f Root ca.pem     as administrator
macOS           sudo security add-trusted-cert -d -r trustRoot \\
                    -k /Library/Keychains/System.keychain ca.pem
Firefox         Settings, Privacy & Security, Certificates, View Certificates, Authorities, Import;
                on Windows and macOS it also uses the certificates of the system
Chrome, Edge    those of the system; on Linux: chrome://certificate-manager, Installed by you
iOS, iPadOS     open ca.pem, then Settings, General, VPN & Device Management, install it; then
                Settings, General, About, Certificate Trust Settings, turn it on
Android         Settings, Security, Encryption & credentials, Install a certificate, CA certificate;
                apps must allow the user's certificates, browsers do"""


def trust_page(names: HostNames) -> str:
    """Return the instructions, for a server with these names."""
    own = [name for name in names.texts() if name not in ("localhost", "127.0.0.1", "::1")]
    host = next(iter(own), "HOST")
    return _PAGE.format(host=f"[{host}]" if ":" in host else host)
