# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""TLS on every port: versions, trust, optional client certificates."""

import socket
import ssl
import subprocess

import pytest

PORTS = ["mqtts", "amqps", "https"]


def handshake(hub, port: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    raw = socket.create_connection((hub.host, hub.port(port)), 10)
    return context.wrap_socket(raw, server_hostname=hub.host)


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_security_044_security_045_tls_1_2_and_1_3_are_served_without_a_client_certificate(hub, port, version):
    context = ssl.create_default_context(cafile=hub.ca_file)
    context.minimum_version = context.maximum_version = version
    with handshake(hub, port, context) as connection:
        assert connection.version() == version.name.replace("_", ".")


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_security_044_older_versions_are_refused(hub, port, version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # Debian's default level would refuse on the client's side; the server must.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, version
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        handshake(hub, port, context)


@pytest.mark.parametrize("port", PORTS)
def test_security_046_the_chain_leads_to_the_authority_and_names_the_host(hub, port):
    context = ssl.create_default_context(cafile=hub.ca_file)
    with handshake(hub, port, context) as connection:
        names = {(kind, name) for kind, name in connection.getpeercert()["subjectAltName"]}
    assert {("DNS", "localhost"), ("IP Address", "127.0.0.1"), ("IP Address", hub.host)} <= names


def test_security_046_without_a_server_name_the_default_certificate_is_sent(hub):
    context = ssl.create_default_context(cafile=hub.ca_file)
    context.check_hostname = False
    raw = socket.create_connection((hub.host, hub.port("mqtts")), 10)
    with context.wrap_socket(raw) as connection:
        assert connection.getpeercert()


def test_the_certificate_and_the_authority_keep_over_a_restart(own_hub):
    def leaf() -> bytes:
        context = ssl.create_default_context(cafile=own_hub.ca_file)
        with handshake(own_hub, "mqtts", context) as connection:
            return connection.getpeercert(binary_form=True)

    own_hub.start()
    before = leaf()
    own_hub.stop()
    own_hub.start()
    assert leaf() == before


def test_security_061_a_private_key_that_others_may_read_is_refused(own_hub):
    own_hub.start()
    own_hub.stop()
    keys = [file for file in own_hub.data.rglob("*") if file.is_file() and b"PRIVATE KEY" in file.read_bytes()[:4096]]
    assert keys
    for key in keys:
        key.chmod(0o644)
    with pytest.raises(AssertionError, match="roost ended with"):
        own_hub.start()


def test_a_second_server_on_the_same_data_directory_is_refused(own_hub):
    from support.program import program

    own_hub.start()
    second = subprocess.run(
        [program(), "serve", "--data", own_hub.data, "--listen-address", "127.0.0.251", "--metrics-port", "0"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert second.returncode not in (0, -9)
    assert str(own_hub.data) in second.stdout + second.stderr


def test_sigterm_ends_the_server_in_order(own_hub):
    assert own_hub.start().stop() == 0


def test_metrics_and_health_are_served(hub):
    assert hub.get("/healthz")[0] == 200
    assert hub.get("/readyz")[0] == 200
    status, text = hub.get("/metrics")
    assert status == 200
    assert text.startswith("# ")
    assert hub.get("/nothing-here")[0] == 404
