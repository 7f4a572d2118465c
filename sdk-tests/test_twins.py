# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Twins with Microsoft's device and service SDKs."""

import asyncio
import json
import queue

import pytest
from azure.iot.device import IoTHubDeviceClient
from azure.iot.device.aio import IoTHubDeviceClient as AsyncDeviceClient
from azure.iot.device.exceptions import ClientError
from azure.iot.hub.models import Twin, TwinProperties
from msrest.exceptions import HttpOperationError

from support import mqtt
from support.devices import registry


def connect(shape, device):
    return shape.create_from_connection_string(device.connection_string, server_verification_cert=device.hub.ca_text)


@pytest.fixture
def client(device):
    made = connect(IoTHubDeviceClient, device)
    made.connect()
    yield made
    made.shutdown()


def desired(properties: dict) -> Twin:
    return Twin(properties=TwinProperties(desired=properties))


def test_rest_service_055_messages_041_fresh_twin(hub, device):
    twin = registry(hub).get_twin(device.id)
    assert (twin.device_id, twin.version, twin.etag) == (device.id, 2, "AAAAAAAAAAE=")
    for section in (twin.properties.desired, twin.properties.reported):
        assert section == {"$metadata": {"$lastUpdated": "0001-01-01T00:00:00Z"}, "$version": 1}


def test_messages_053_mqtt_079_the_device_reads_its_twin(hub, device, client):
    service = registry(hub)
    service.update_twin(device.id, Twin(tags={"room": "7"}, properties=TwinProperties(desired={"interval": 5})))
    assert client.get_twin() == {"desired": {"interval": 5, "$version": 2}, "reported": {"$version": 1}}


def test_messages_056_mqtt_080_reported_properties_reach_the_back_end(hub, device, client):
    client.patch_twin_reported_properties({"fan": {"rpm": 5}, "n": 1.50, "date": "2024-03-01T10:00:00+02:00"})
    client.patch_twin_reported_properties({"fan": {"rpm": None, "on": True}})
    reported = registry(hub).get_twin(device.id).properties.reported
    assert {name: value for name, value in reported.items() if not name.startswith("$")} == {
        "fan": {"on": True}, "n": 1.5, "date": "2024-03-01T10:00:00+02:00",
    }  # fmt: skip
    assert reported["$version"] == 3
    assert set(reported["$metadata"]["fan"]) == {"$lastUpdated", "on"}


def test_mqtt_082_a_refused_report_raises_in_the_device(device, client):
    with pytest.raises(ClientError):
        client.patch_twin_reported_properties({"bad name": 1})
    client.patch_twin_reported_properties({"good": 1})
    assert client.get_twin()["reported"] == {"good": 1, "$version": 2}


def test_messages_054_messages_055_mqtt_083_the_device_is_told_of_desired_changes(hub, device, client):
    told = queue.Queue()
    client.on_twin_desired_properties_patch_received = told.put
    # The SDK subscribes when the handler is set; a read behind it comes back after that.
    client.get_twin()
    service = registry(hub)
    service.update_twin(device.id, desired({"interval": 5, "mode": {"a": 1}}))
    assert told.get(timeout=20) == {"interval": 5, "mode": {"a": 1}, "$version": 2}
    service.update_twin(device.id, desired({"mode": {"a": None}}))
    assert told.get(timeout=20) == {"mode": {"a": None}, "$version": 3}
    service.replace_twin(device.id, desired({"other": True}))
    assert told.get(timeout=20) == {"other": True, "$version": 4}
    assert client.get_twin()["desired"] == {"other": True, "$version": 4}


def test_rest_service_056_rest_service_057_rest_service_058_versions_and_metadata(hub, device):
    service = registry(hub)
    first = service.update_twin(device.id, desired({"a": {"b": 1, "c": 2}}))
    assert first.properties.desired["$version"] == 2
    second = service.update_twin(device.id, Twin(tags={"t": 1}))
    assert (second.properties.desired["$version"], second.version) == (2, first.version + 1)
    third = service.update_twin(device.id, desired({"a": {"b": None}}))
    assert third.properties.desired["a"] == {"c": 2}
    metadata = third.properties.desired["$metadata"]
    assert metadata["$lastUpdatedVersion"] == metadata["a"]["$lastUpdatedVersion"] == 3
    assert metadata["a"]["c"]["$lastUpdatedVersion"] == 2
    assert "b" not in metadata["a"]


def test_rest_service_059_rest_service_061_rest_service_062_etags_and_replacement(hub, device):
    service = registry(hub)
    twin = service.update_twin(device.id, desired({"a": 1, "b": 2}))
    with pytest.raises(HttpOperationError) as refused:
        service.update_twin(device.id, desired({"a": 3}), "AAAAAAAAAAE=")
    assert refused.value.response.status_code == 412
    # The whole document that was read may be sent back.
    twin.tags = {"room": "7"}
    changed = service.update_twin(device.id, twin, twin.etag)
    assert changed.tags == {"room": "7"}
    replaced = service.replace_twin(device.id, desired({"b": 3}))
    assert {name for name in replaced.properties.desired if not name.startswith("$")} == {"b"}
    assert replaced.tags == {"room": "7"}


@pytest.mark.parametrize("bad", [{"a.b": 1}, {"a": "x" * 4097}, {"a": 2**52}, {"a": [None]}], ids=str)
def test_rest_service_063_rest_service_064_messages_048_bad_properties_are_refused(hub, device, bad):
    with pytest.raises(HttpOperationError) as refused:
        registry(hub).update_twin(device.id, desired(bad))
    assert refused.value.response.status_code == 400
    assert refused.value.response.headers["iothub-errorcode"] == "ArgumentInvalid"
    assert registry(hub).get_twin(device.id).version == 2


def test_the_asynchronous_client_reads_reports_and_is_told(hub, device):
    async def run():
        client = connect(AsyncDeviceClient, device)
        told = asyncio.Queue()

        async def handler(patch):
            await told.put(patch)

        client.on_twin_desired_properties_patch_received = handler
        await client.connect()
        await asyncio.gather(*(client.patch_twin_reported_properties({f"k{n}": n}) for n in range(20)))
        twin = await client.get_twin()
        assert twin["reported"] == {**{f"k{n}": n for n in range(20)}, "$version": 21}
        await asyncio.to_thread(registry(hub).update_twin, device.id, desired({"a": 1}))
        assert await asyncio.wait_for(told.get(), 20) == {"a": 1, "$version": 2}
        await client.shutdown()

    asyncio.run(run())


def test_a_report_that_was_answered_survives_a_kill(own_hub):
    from support.devices import make_device

    hub = own_hub.start()
    device = make_device(hub)
    with device.sign_in() as peer:
        peer.send(mqtt.subscribe(1, ("$iothub/twin/res/#", 0)))
        assert peer.receive()[:2] == b"\x90\x03"
        topic = "$iothub/twin/PATCH/properties/reported/?$rid=1"
        peer.send(mqtt.publish(topic, json.dumps({"a": 1}).encode(), qos=0))
        assert b"$iothub/twin/res/204/?$rid=1&$version=2" in peer.receive()
        hub.kill()
    hub.start()
    assert registry(hub).get_twin(device.id).properties.reported["a"] == 1
