# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Devices with certificates whose thumbprints are registered, with Microsoft's SDKs and by hand."""

import asyncio
import itertools
import json
import os
import ssl

import pytest
import requests
from azure.iot.device import IoTHubDeviceClient
from azure.iot.device.aio import IoTHubDeviceClient as AsyncDeviceClient
from azure.iot.device.exceptions import CredentialError

from support import mqtt, tokens
from support.certificates import Maker
from support.devices import API_VERSION, partition, registry
from support.reading import eventually, read

_numbers = itertools.count(1)


@pytest.fixture
def maker(tmp_path):
    return Maker(tmp_path)


@pytest.fixture
def device_id():
    return f"pinned-{os.getpid()}-{next(_numbers)}"


def client(hub, device_id, certificate, shape=IoTHubDeviceClient, **options):
    return shape.create_from_x509_certificate(
        x509=certificate.for_sdk, hostname=hub.host, device_id=device_id, server_verification_cert=hub.ca_text,
        connection_retry=False, **options,
    )  # fmt: skip


def connect_packet(hub, device_id, password=None):
    return mqtt.connect(device_id, f"{hub.host}/{device_id}/?api-version={API_VERSION}", password, clean=True)


def answer(hub, device_id, certificate=None, password=None, version=None) -> int:
    """The return code of a CONNACK on a connection with a client certificate."""
    context = certificate.context(hub) if certificate else ssl.create_default_context(cafile=hub.ca_file)
    if version:
        context.minimum_version = context.maximum_version = version
    with mqtt.Peer(hub, context=context) as peer:
        peer.send(connect_packet(hub, device_id, password))
        return peer.receive()[3]


@pytest.mark.parametrize("websockets", [False, True])
@pytest.mark.parametrize(("form", "slot", "rsa"), [("sha1", 0, False), ("sha256", 0, True), ("sha256", 1, False)])
def test_security_030_security_031_mqtt_016_a_pinned_certificate_signs_in(
    hub, maker, device_id, form, slot, rsa, websockets
):
    own = maker.make("whatever", rsa=rsa)
    thumbprint = getattr(own, form)
    other = "0" * len(thumbprint)
    pair = (thumbprint.upper(), other) if slot == 0 else (other, thumbprint)
    registry(hub).create_device_with_x509(device_id, *pair, "enabled")
    sender = client(hub, device_id, own, websockets=websockets)
    sender.connect()
    sender.send_message("by certificate")
    assert sender.get_twin()["desired"] == {"$version": 1}
    sender.patch_twin_reported_properties({"by": form})
    sender.shutdown()
    (event,) = read(hub, device=device_id, partition_id=str(partition(device_id)))
    assert event.body == b"by certificate"
    assert json.loads(event.annotations["iothub-connection-auth-method"]) == {
        "scope": "device", "type": "x509", "issuer": "iothub", "acceptingIpFilterRule": None,
    }  # fmt: skip
    assert registry(hub).get_twin(device_id).properties.reported["by"] == form


def test_the_asynchronous_client_signs_in_with_a_pinned_certificate(hub, maker, device_id):
    own = maker.make("whatever")
    registry(hub).create_device_with_x509(device_id, own.sha256, own.sha256, "enabled")

    async def send():
        sender = client(hub, device_id, own, AsyncDeviceClient)
        await sender.connect()
        await sender.send_message("asynchronously")
        await sender.shutdown()

    asyncio.run(send())
    (event,) = read(hub, device=device_id, partition_id=str(partition(device_id)))
    assert event.body == b"asynchronously"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("curve", ["P-384", "P-521"])
def test_security_030_keys_on_larger_curves_sign_in(hub, maker, device_id, curve, version):
    own = maker.make("whatever", curve=curve)
    registry(hub).create_device_with_x509(device_id, own.sha256, own.sha256, "enabled")
    assert answer(hub, device_id, own, version=version) == 0


def test_security_030_a_thumbprint_without_a_type_makes_a_self_signed_device(hub, maker, device_id):
    own = maker.make("whatever")
    document = {"deviceId": device_id, "authentication": {"x509Thumbprint": {"primaryThumbprint": own.sha1}}}
    made = requests.put(
        f"https://{hub.host}/devices/{device_id}?api-version={API_VERSION}", json=document, verify=hub.ca_file,
        headers={"Authorization": tokens.token(hub.host, hub.key("iothubowner"), policy="iothubowner")}, timeout=20,
    )  # fmt: skip
    assert made.status_code == 200, made.text
    assert made.json()["authentication"]["type"] == "selfSigned"
    assert answer(hub, device_id, own) == 0


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_security_032_mqtt_017_security_045_a_wrong_certificate_ends_tls_well_and_sign_in_badly(
    hub, maker, device_id, version
):
    own, wrong = maker.make("same"), maker.make("same")
    registry(hub).create_device_with_x509(device_id, own.sha1, own.sha256, "enabled")
    assert answer(hub, device_id, own, version=version) == 0
    assert answer(hub, device_id, wrong, version=version) == 5
    assert answer(hub, device_id + "-unknown", own, version=version) == 5
    # Without a certificate, and with a token of which the device has no key.
    assert answer(hub, device_id, version=version) == 5
    token = tokens.token(f"{hub.host}/devices/{device_id}", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
    assert answer(hub, device_id, own, password=token, version=version) == 5


def test_security_032_the_sdk_reports_a_wrong_certificate_as_a_credential_error(hub, maker, device_id):
    own, wrong = maker.make("same"), maker.make("same")
    registry(hub).create_device_with_x509(device_id, own.sha1, own.sha256, "enabled")
    sender = client(hub, device_id, wrong)
    with pytest.raises(CredentialError):
        sender.connect()
    sender.shutdown()


def test_a_device_with_keys_does_not_sign_in_with_a_certificate(hub, maker, device):
    assert answer(hub, device.id, maker.make(device.id)) == 5
    # With its token it does, whatever certificate the client shows besides.
    assert answer(hub, device.id, maker.make(device.id), password=device.token()) == 0


def test_security_040_security_043_connections_end_with_the_thumbprint_that_they_rest_on(hub, maker, device_id):
    first, second = maker.make("first"), maker.make("second")
    service = registry(hub)
    service.create_device_with_x509(device_id, first.sha256, second.sha256, "enabled")
    with mqtt.Peer(hub, context=first.context(hub)) as peer:
        peer.send(connect_packet(hub, device_id))
        assert peer.receive()[3] == 0
        service.update_device_with_x509(device_id, service.get_device(device_id).etag, second.sha256, "", "enabled")
        assert peer.is_closed(5)
    assert answer(hub, device_id, first) == 5
    assert answer(hub, device_id, second) == 0
    with mqtt.Peer(hub, context=second.context(hub)) as peer:
        peer.send(connect_packet(hub, device_id))
        assert peer.receive()[3] == 0
        assert answer(hub, device_id, second) == 0
        assert peer.is_closed(5), "the second connection takes over"


def test_a_resumed_tls_session_still_proves_who_the_device_is(hub, maker, device_id):
    own = maker.make("whatever")
    registry(hub).create_device_with_x509(device_id, own.sha256, "", "enabled")
    context = own.context(hub)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    sessions = []
    for _ in range(2):
        with mqtt.Peer(hub, context=context, session=sessions[-1] if sessions else None) as peer:
            peer.send(connect_packet(hub, device_id))
            assert peer.receive()[3] == 0
            sessions.append(peer.socket.session)
            resumed = peer.socket.session_reused
    assert resumed


def test_disabling_ends_the_connection_of_a_certificate(hub, maker, device_id):
    own = maker.make("whatever")
    service = registry(hub)
    service.create_device_with_x509(device_id, own.sha256, "", "enabled")
    sender = client(hub, device_id, own)
    sender.connect()
    service.update_device_with_x509(device_id, service.get_device(device_id).etag, own.sha256, "", "disabled")
    eventually(lambda: not sender.connected)
    sender.shutdown()
    assert answer(hub, device_id, own) == 5
