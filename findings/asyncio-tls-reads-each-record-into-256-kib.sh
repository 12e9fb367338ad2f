#!/usr/bin/env bash
# asyncio (Python 3.11) and uvloop 0.23.0: over TLS, an asyncio.Protocol costs new memory of 256 KiB for each read,
# however small the record is: both call SSLObject.read(262144), and CPython allocates that much before it decrypts.
# A voice client sends a record of about 1.3 KB every 40 ms. In a voice server on uvloop a frame took 97 us of CPU; 71 us
# with an asyncio.BufferedProtocol, which is asked for a buffer that can be used again, and 59 us without TLS. Neither
# library's documents name this price of an asyncio.Protocol. uvicorn's and websockets' protocols are of this kind.
#
# Seen with Python 3.11.7 and uvloop 0.23.0, 2026-11-30 (20 records of 1,280 bytes, one after the other):
#   asyncio, Protocol: SSLObject.read of up to 262144 bytes
#   asyncio, BufferedProtocol: SSLObject.read of up to 4096 bytes
#   uvloop, Protocol: SSLObject.read of up to 262144 bytes
#   uvloop, BufferedProtocol: SSLObject.read of up to 4096 bytes

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'uvloop==0.23.0' 'trustme==1.2.1'
"$folder/venv/bin/python" - <<'PY'
import asyncio
import platform
import ssl

import trustme
import uvloop

MESSAGE, COUNT = bytes(1280), 20
sizes: list[int] = []


class Measured(ssl.SSLObject):
    def read(self, len=1024, buffer=None):
        sizes.append(len)
        return super().read(len, buffer)


class Answers(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class AnswersFromBuffer(asyncio.BufferedProtocol):
    buffer = memoryview(bytearray(4096))

    def connection_made(self, transport):
        self.transport = transport

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, nbytes):
        self.transport.write(bytes(self.buffer[:nbytes]))


async def largest_read(protocol):
    authority = trustme.CA()
    server_tls, client_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server_tls)
    authority.configure_trust(client_tls)
    server_tls.sslobject_class = Measured
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=server_tls)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=client_tls, server_hostname="localhost"
    )
    sizes.clear()
    for _ in range(COUNT):
        writer.write(MESSAGE)
        assert await reader.readexactly(len(MESSAGE)) == MESSAGE
    found = max(sizes)
    writer.close()
    server.close()
    return found


print(f"Python {platform.python_version()}, {ssl.OPENSSL_VERSION}")
found = {}
for name, factory in (("asyncio", asyncio.new_event_loop), ("uvloop", uvloop.new_event_loop)):
    for protocol in (Answers, AnswersFromBuffer):
        with asyncio.Runner(loop_factory=factory) as runner:
            most = found[name, protocol] = runner.run(largest_read(protocol))
        print(f"{name}, {protocol.__mro__[1].__name__}: SSLObject.read of up to {most} bytes")
assert all(most == 262_144 for (_, protocol), most in found.items() if protocol is Answers)
assert all(most <= 4096 for (_, protocol), most in found.items() if protocol is not Answers)
PY
