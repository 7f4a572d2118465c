# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Telemetry and twins with each shape of Microsoft's device SDK: both halves, both transports, both proofs."""

import time

import pytest
from azure.iot.hub.models import Twin, TwinProperties

from support import tokens
from support.clients import SHAPES, TWO_SHAPES, Client, Shape, message
from support.devices import registry
from support.reading import eventually, read


def desired(properties: dict) -> Twin:
    return Twin(properties=TwinProperties(desired=properties))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_messages_001_messages_006_messages_056_each_shape_of_the_client_sends_reports_and_is_told(hub, device, shape):
    service = registry(hub)
    with Client(device, shape) as client:
        client.send(
            message(b"\x00\xff{", properties={"Color": "blue"}, content_type="text/plain", content_encoding="x")
        )
        assert client.twin() == {"desired": {"$version": 1}, "reported": {"$version": 1}}
        client.report({"fan": {"rpm": 5}, "gone": None})
        client.listen("desired")
        service.update_twin(device.id, desired({"interval": 5, "old": None}))
        assert client.desired.get(timeout=20) == {"interval": 5, "old": None, "$version": 2}
        assert client.twin() == {
            "desired": {"interval": 5, "$version": 2}, "reported": {"fan": {"rpm": 5}, "$version": 2},
        }  # fmt: skip
    reported = service.get_twin(device.id).properties.reported
    assert (reported["fan"], reported["$version"]) == ({"rpm": 5}, 2)
    (event,) = read(hub, device=device.id, partition_id=device.partition)
    assert event.body == b"\x00\xff{"
    assert event.properties == {"Color": "blue"}
    assert (event.content_type, event.content_encoding) == ("text/plain", "x")


def test_messages_009_the_hub_says_when_each_message_came(hub, device):
    before = time.time()
    with Client(device) as client:
        for n in range(20):
            client.send(str(n))
    after = time.time()
    times = [
        e.annotations["iothub-enqueuedtime"] / 1000
        for e in read(hub, 20, device=device.id, partition_id=device.partition)
    ]
    assert times == sorted(times)
    assert before - 1 <= times[0]
    assert times[-1] <= after + 1


@pytest.mark.parametrize("shape", TWO_SHAPES, ids=str)
def test_messages_065_a_clients_second_connection_takes_the_place_of_the_first(device, shape):
    with Client(device, shape, connection_retry=False) as first:
        with Client(device, shape) as second:
            eventually(lambda: not first.sdk.connected)
            second.send("still here")


@pytest.mark.parametrize("shape", [Shape(), Shape(asynchronous=True, websockets=True)], ids=str)
def test_the_sdk_renews_its_token_and_misses_nothing(hub, device, shape):
    # The SDK renews 120 s before the end of its token and connects again with the same session.
    service = registry(hub)
    states = []
    with Client(device, shape, sastoken_ttl=123) as client:
        client.listen("desired")
        client.sdk.on_connection_state_change = lambda: states.append(client.sdk.connected)
        eventually(lambda: states[-2:] == [False, True], 20)
        service.update_twin(device.id, desired({"after": "renewal"}))
        client.wait_for_desired({"after": "renewal", "$version": 2})
        client.send("renewed")
        client.report({"renewed": True})
    assert read(hub, device=device.id, partition_id=device.partition)[0].body == b"renewed"


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_a_client_with_a_token_of_its_own_asks_for_a_new_one_and_goes_on_with_it(hub, device, asynchronous):
    with Client(device, Shape(asynchronous, sas_token=True), lifetime=122) as client:
        asked = []
        if asynchronous:

            async def give():
                await client.sdk.update_sastoken(tokens.token(device.resource, device.key, lifetime=3600))
                asked.append(True)
        else:

            def give():
                client.sdk.update_sastoken(tokens.token(device.resource, device.key, lifetime=3600))
                asked.append(True)

        client.sdk.on_new_sastoken_required = give
        client.listen("desired")
        eventually(lambda: asked)
        registry(hub).update_twin(device.id, desired({"a": 1}))
        client.wait_for_desired({"a": 1, "$version": 2})
