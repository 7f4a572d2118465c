# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Modules with each shape of Microsoft's module client, beside their device: telemetry, outputs, twins, methods."""

import json

import pytest
from azure.iot.device import Message
from azure.iot.device.exceptions import CredentialError

from support import mqtt
from support.clients import SHAPES, TWO_SHAPES, Client, Shape
from support.devices import Device
from support.reading import eventually, read


@pytest.fixture
def module(device, make_child):
    return make_child(device, "camera")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_messages_058_mqtt_078_each_shape_of_the_module_client_does_what_a_module_may(
    hub, service, device, module, shape
):
    with Client(module, shape) as client:
        client.send("telemetry")
        sent = Message("from an output")
        sent.custom_properties["a"] = "b"
        client.send(sent, "alerts")
        client.report({"frames": 30})
        client.listen("desired", "methods", answer=lambda request: (299, [request.name, request.payload]))
        service.update_twin(module, {"zoom": 2})
        assert client.desired.get(timeout=20) == {"zoom": 2, "$version": 2}
        assert client.twin() == {"desired": {"zoom": 2, "$version": 2}, "reported": {"frames": 30, "$version": 2}}
        result = service.invoke(module, "snap", {"n": 1})
        assert (result.status, result.payload) == (299, ["snap", {"n": 1}])
    assert service.twin(module).properties.reported["frames"] == 30
    assert service.twin(device).version == 2
    events = read(hub, 2, device=device.id, partition_id=device.partition)
    assert [event.body for event in events] == [b"telemetry", b"from an output"]
    for event in events:
        assert event.annotations["iothub-connection-device-id"] == device.id
        assert event.annotations["iothub-connection-module-id"] == "camera"
        assert json.loads(event.annotations["iothub-connection-auth-method"])["scope"] == "module"
    assert events[1].properties == {"a": "b", "iothub-outputname": "alerts"} or events[1].properties == {"a": "b"}


def test_mqtt_025_a_device_and_its_modules_are_connected_side_by_side(service, device, make_child):
    children = [make_child(device, f"m{n}") for n in range(3)]
    everyone = [Client(each) for each in (device, *children)]
    try:
        for n, client in enumerate(everyone):
            client.connect()
            client.listen("desired", "methods", answer=lambda request, n=n: (200, n))
        for n, client in enumerate(everyone):
            assert service.invoke(client.identity, "who").payload == n
            service.update_twin(client.identity, {"n": n})
        for n, client in enumerate(everyone):
            assert client.desired.get(timeout=20) == {"n": n, "$version": 2}
            assert client.desired.empty()
            assert client.methods.qsize() == 1
        assert all(client.sdk.connected for client in everyone)
    finally:
        for client in everyone:
            client.close()


def test_a_module_has_its_own_key_and_not_its_devices(device, module):
    forged = Device(device.hub, device.id, device.key, device.secondary_key, "camera")
    client = Client(forged, connection_retry=False)
    with pytest.raises(CredentialError):
        client.connect()
    client.close()
    with Client(Device(device.hub, device.id, module.secondary_key, module.key, "camera")) as right:
        right.send("by the secondary key")


@pytest.mark.parametrize("shape", TWO_SHAPES, ids=str)
def test_deleting_a_module_ends_its_connection_and_not_its_devices(service, device, make_child, shape):
    module = make_child(device, "short-lived")
    with Client(device, shape) as parent, Client(module, shape, connection_retry=False) as client:
        service.sdk.delete_module(device.id, "short-lived")
        eventually(lambda: not client.sdk.connected)
        parent.send("still here")
        assert parent.sdk.connected


def test_deleting_a_device_ends_the_connections_of_its_modules(service, make, make_child):
    device = make("parent")
    module = make_child(device, "child")
    with Client(module, connection_retry=False) as client:
        service.sdk.delete_device(device.id)
        eventually(lambda: not client.sdk.connected)


def test_disabling_a_device_keeps_its_modules_out(service, make, make_child):
    device = make("parent")
    module = make_child(device, "child")
    etag = service.sdk.get_device(device.id).etag
    with Client(module, connection_retry=False) as client:
        service.sdk.update_device_with_sas(device.id, etag, device.key, device.secondary_key, "disabled")
        eventually(lambda: not client.sdk.connected)
    with mqtt.Peer(device.hub) as peer:
        assert peer.send(module.connect_packet()).receive() == b"\x20\x02\x00\x05"


def test_a_module_with_inputs_may_ask_for_them(module):
    with Client(module) as client:
        client.sdk.on_message_received = lambda message: None
        assert client.twin()["reported"]["$version"] == 1
        client.send("still connected")


@pytest.mark.parametrize("shape", TWO_SHAPES, ids=str)
def test_a_modules_session_outlives_a_cut(service, module, proxy, shape):
    with Client(module, shape, host=proxy.address, connection_retry_interval=1) as client:
        client.listen("desired", "methods", answer=lambda request: (200, "again"))
        proxy.cut()
        assert service.invoke(module, "m", connect_timeout_in_seconds=20).payload == "again"
        service.update_twin(module, {"after": 1})
        client.wait_for_desired({"after": 1, "$version": 2})


def test_a_module_renews_its_token(service, module):
    states = []
    with Client(module, Shape(), sastoken_ttl=122) as client:
        client.listen("desired")
        client.sdk.on_connection_state_change = lambda: states.append(client.sdk.connected)
        eventually(lambda: states[-2:] == [False, True], 20)
        service.update_twin(module, {"a": 1})
        client.wait_for_desired({"a": 1, "$version": 2})
