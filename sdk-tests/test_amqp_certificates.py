# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Devices and modules with certificates over AMQP: SASL EXTERNAL, ANONYMOUS, and no SASL at all."""

import dataclasses
import itertools
import json
import os

import pytest
import requests
from proton import SSLDomain
from proton._exceptions import ConnectionException
from proton.utils import BlockingConnection, LinkDetached, SendException

from support import tokens
from support.amqp import Gateway, Identity
from support.certificates import Maker
from support.devices import API_VERSION, partition, registry
from support.reading import eventually, read

_numbers = itertools.count(1)

# How the clients of SDKs begin.
BEGINNINGS = {
    "EXTERNAL": {"allowed_mechs": "EXTERNAL"},
    "ANONYMOUS": {"allowed_mechs": "ANONYMOUS"},
    "no SASL": {"sasl_enabled": False},
}


@dataclasses.dataclass(frozen=True)
class Named:
    """An identity that holds a certificate instead of a key."""

    hub: object
    id: str
    module: str | None = None

    @property
    def path(self) -> str:
        return f"/devices/{self.id}" + (f"/modules/{self.module}" if self.module else "")


class CertificateGateway(Gateway):
    """A connection with a client certificate."""

    def __init__(self, hub, certificate, **options):
        domain = SSLDomain(SSLDomain.MODE_CLIENT)
        domain.set_trusted_ca_db(hub.ca_file)
        domain.set_peer_authentication(SSLDomain.VERIFY_PEER)
        if certificate:
            domain.set_credentials(str(certificate.certificate), str(certificate.key), None)
        self.connection = BlockingConnection(
            f"amqps://{hub.host}:{hub.port('amqps')}", timeout=20, ssl_domain=domain, heartbeat=10, **options
        )
        self.claims = None


@pytest.fixture
def maker(tmp_path):
    return Maker(tmp_path)


@pytest.fixture
def name():
    return f"amqp-signed-{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def authority(hub, maker, name):
    """A verified authority of this test's own."""
    root = maker.make("Root", authority=True)

    def call(method, body=None):
        return requests.request(
            method, f"https://{hub.host}/certificates/{name}?api-version={API_VERSION}", json=body, verify=hub.ca_file,
            headers={"Authorization": tokens.token(hub.host, hub.key("iothubowner"), policy="iothubowner")}, timeout=20,
        )  # fmt: skip

    assert call("PUT", {"properties": {"certificate": root.pem, "isVerified": True}}).ok
    yield root, lambda: call("DELETE")
    call("DELETE")


def refused(gateway, identity) -> str:
    """Why a link for telemetry is refused."""
    with pytest.raises(LinkDetached) as refusal:
        gateway.sender(f"{identity.path}/messages/events")
    return str(refusal.value)


@pytest.mark.parametrize("beginning", BEGINNINGS)
@pytest.mark.parametrize("form", ["sha1", "sha256"])
def test_security_030_security_031_a_pinned_certificate_opens_its_devices_links(hub, maker, name, beginning, form):
    own = maker.make("whatever")
    thumbprint = getattr(own, form)
    registry(hub).create_device_with_x509(name, "0" * len(thumbprint), thumbprint, "enabled")
    with CertificateGateway(hub, own, **BEGINNINGS[beginning]) as gateway:
        identity = Identity(gateway, Named(hub, name))
        identity.send(b"by certificate")
        assert identity.twin_document()["desired"]["$version"] == 1
    (event,) = read(hub, device=name, partition_id=str(partition(name)))
    assert event.body == b"by certificate"
    assert json.loads(event.annotations["iothub-connection-auth-method"]) == {
        "scope": "device", "type": "x509", "issuer": "iothub", "acceptingIpFilterRule": None,
    }  # fmt: skip


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_security_034_a_device_and_its_module_of_an_authority_open_their_own_links(
    hub, maker, name, authority, beginning
):
    root, _ = authority
    middle = maker.make("Middle", issuer=root, authority=True)
    service = registry(hub)
    service.create_device_with_certificate_authority(name, "enabled")
    service.create_module_with_certificate_authority(name, "m1", "")
    device, module = Named(hub, name), Named(hub, name, "m1")
    with CertificateGateway(hub, maker.make(name, issuer=middle, chain=(middle,)), **BEGINNINGS[beginning]) as gateway:
        Identity(gateway, device).send(b"of the device")
        assert "amqp:unauthorized-access" in refused(gateway, module)
    with CertificateGateway(hub, maker.make(f"{name}/m1", issuer=root), **BEGINNINGS[beginning]) as gateway:
        Identity(gateway, module).send(b"of the module")
        assert "amqp:unauthorized-access" in refused(gateway, device)
    events = read(hub, 2, device=name, partition_id=str(partition(name)))
    assert [event.body for event in events] == [b"of the device", b"of the module"]


def test_security_032_a_wrong_certificate_ends_tls_well_and_is_refused_at_the_link(hub, maker, name, authority, device):
    root, _ = authority
    service = registry(hub)
    service.create_device_with_certificate_authority(name, "enabled")
    pinned = maker.make("pinned")
    service.create_device_with_x509(f"{name}-pinned", pinned.sha256, "", "enabled")
    wrong = {
        "another name": (maker.make(name + "x", issuer=root), name),
        "a stranger's": (maker.make(name, issuer=maker.make("Root", authority=True)), name),
        "another thumbprint": (maker.make("pinned"), f"{name}-pinned"),
        "a device with keys": (maker.make(device.id, issuer=root), device.id),
        "no such device": (maker.make(f"{name}-none", issuer=root), f"{name}-none"),
    }
    for what, (certificate, device_id) in wrong.items():
        with CertificateGateway(hub, certificate, allowed_mechs="EXTERNAL") as gateway:
            assert "amqp:unauthorized-access" in refused(gateway, Named(hub, device_id)), what


def test_external_without_a_certificate_fails(hub):
    with pytest.raises(ConnectionException):
        CertificateGateway(hub, None, allowed_mechs="EXTERNAL")


def test_security_037_removing_the_authority_detaches_at_once(hub, maker, name, authority):
    root, remove = authority
    registry(hub).create_device_with_certificate_authority(name, "enabled")
    with CertificateGateway(hub, maker.make(name, issuer=root), allowed_mechs="EXTERNAL") as gateway:
        identity = Identity(gateway, Named(hub, name))
        identity.send(b"first")
        remove()

        def is_refused():
            try:
                identity.send(b"more")
            except (LinkDetached, SendException, ConnectionException):
                return True
            return False

        eventually(is_refused, timeout=5)
