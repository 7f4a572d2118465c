# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Direct methods between Microsoft's service SDK and each shape of its device SDK."""

import json
import threading
import time

import pytest
import requests
from msrest.exceptions import HttpOperationError

from support import mqtt, tokens
from support.clients import SHAPES, TWO_SHAPES, Client, Shape
from support.reading import eventually
from support.services import call
from support.together import start, together

# (name, what the service sends, what the device answers)
PAYLOADS = [
    ("null", None, None), ("number", 7, -1.5), ("text", "a \"b\" ü 🌡", ""), ("true", True, False),
    ("list", [1, [2, {"a": None}]], []), ("object", {"a": {"b": [1]}}, {"c": None, "d": "e"}),
    ("large", {"x": "y" * 100_000}, ["z" * 100_000]),
]  # fmt: skip


def refusal(function, *arguments, **options) -> tuple[int, str, int]:
    """HTTP status, name and number of the error that a call raises."""
    with pytest.raises(HttpOperationError) as refused:
        function(*arguments, **options)
    answer = refused.value.response
    document = answer.json()
    number = json.loads(document["Message"])["errorCode"]
    return answer.status_code, answer.headers["iothub-errorcode"], number


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_messages_059_mqtt_071_each_shape_of_the_client_answers_with_status_and_payload(service, device, shape):
    answers = {name: given for name, _, given in PAYLOADS}
    with Client(device, shape) as client:
        client.listen("methods", answer=lambda request: (200 + len(request.name), answers[request.name]))
        for name, sent, given in PAYLOADS:
            result = service.invoke(device, name, sent)
            request = client.methods.get_nowait()
            # The service SDK sends no payload as an empty text.
            assert (request.name, request.payload) == (name, "" if sent is None else sent), name
            assert (result.status, result.payload) == (200 + len(name), given), name


@pytest.mark.parametrize("status", [0, -1, 404, 500, 2**31 - 1])
def test_mqtt_073_the_devices_status_is_its_own_business(hub, service, device, status):
    with Client(device) as client:
        client.listen("methods", answer=lambda request: (status, {"status": "no"}))
        answer = call(hub, "POST", f"/twins/{device.id}/methods", json={"methodName": "any"})
        assert answer.status_code == 200
        assert answer.json() == {"status": status, "payload": {"status": "no"}}


def test_a_method_without_payload_and_one_with_null_are_told_apart_on_the_wire(hub, device):
    with device.sign_in() as peer:
        peer.send(mqtt.subscribe(1, ("$iothub/methods/POST/#", 0)))
        assert peer.receive()[:2] == b"\x90\x03"
        for body, expected in (({}, b""), ({"payload": None}, b"null")):
            calling = start(
                lambda body=body: call(hub, "POST", f"/twins/{device.id}/methods", json=body | {"methodName": "m"})
            )
            packet = peer.receive()
            topic, payload = mqtt.taken(packet)
            assert topic.startswith("$iothub/methods/POST/m/?$rid=")
            assert payload == expected
            peer.send(mqtt.publish("$iothub/methods/res/200/?$rid=" + topic.partition("$rid=")[2], b"", qos=0))
            assert calling.result(20).json() == {"status": 200, "payload": None}


@pytest.mark.parametrize("name", ["a b", "größe", "100%", "dots.and-dashes_", "$dollar"])
def test_method_names_arrive_as_they_were_given(service, device, name):
    with Client(device) as client:
        client.listen("methods", answer=lambda request: (200, request.name))
        assert service.invoke(device, name).payload == name


@pytest.mark.parametrize("name", ["", "a/b", "a#", "+", "a?b"])
def test_a_method_name_that_no_topic_can_carry_is_refused(service, device, name):
    with Client(device) as client:
        client.listen("methods", answer=lambda request: (200, None))
        status, _, number = refusal(service.invoke, device, name)
        assert status == 400
        assert number // 1000 == 400
        assert client.methods.empty()


@pytest.mark.parametrize("shape", TWO_SHAPES, ids=str)
def test_several_calls_are_in_flight_and_may_be_answered_in_any_order(service, device, shape):
    released = {n: threading.Event() for n in range(5)}

    def answer(request):
        released[request.payload].wait(30)
        return 200, request.payload

    with Client(device, shape) as client:
        if shape.asynchronous:
            client.listen("methods", answer=answer)
            calls = [start(service.invoke, device, "wait", n) for n in range(5)]
            eventually(lambda: client.methods.qsize() == 5)
            for n in (4, 2, 0, 1, 3):
                released[n].set()
                assert calls[n].result(20).payload == n
        else:
            # The synchronous client handles one request after the other.
            client.listen("methods", answer=lambda request: (200, request.payload))
            assert together(lambda n: service.invoke(device, "wait", n).payload, range(40)) == list(range(40))


def test_messages_060_mqtt_076_a_device_that_is_not_there_or_does_not_listen_is_not_online(service, device):
    not_online = (404, "DeviceNotOnline", 404103)
    assert refusal(service.invoke, device, "m") == not_online
    with Client(device) as client:
        assert refusal(service.invoke, device, "m") == not_online
        client.listen("methods", answer=lambda request: (200, "there"))
        assert service.invoke(device, "m").payload == "there"
    # A session that stays has the filter, and still nobody is there.
    assert refusal(service.invoke, device, "m") == not_online


def test_an_unknown_device_is_not_found(service, device, make):
    gone = make()
    service.sdk.delete_device(gone.id)
    assert refusal(service.invoke, gone, "m") == (404, "DeviceNotFound", 404001)


@pytest.mark.parametrize("shape", TWO_SHAPES, ids=str)
def test_a_call_waits_for_a_device_that_connects_in_time(service, device, shape):
    calling = start(lambda: service.invoke(device, "m", connect_timeout_in_seconds=30))
    with Client(device, shape) as client:
        client.listen("methods", answer=lambda request: (200, "came"))
        assert calling.result(20).payload == "came"


def test_a_call_gives_up_on_a_device_that_does_not_connect_in_time(service, device):
    before = time.monotonic()
    assert refusal(service.invoke, device, "m", connect_timeout_in_seconds=1) == (404, "DeviceNotOnline", 404103)
    assert time.monotonic() - before >= 1


def test_messages_061_messages_063_no_answer_in_time_is_a_gateway_timeout_and_a_late_one_is_ignored(service, device):
    late = threading.Event()

    def answer(request):
        if request.name == "slow":
            late.wait(30)
        return 200, request.name

    with Client(device, Shape(asynchronous=True)) as client:
        client.listen("methods", answer=answer)
        before = time.monotonic()
        assert refusal(service.invoke, device, "slow", response_timeout_in_seconds=5) == (504, "GatewayTimeout", 504101)
        assert 5 <= time.monotonic() - before < 10
        late.set()
        assert service.invoke(device, "quick").payload == "quick"
        client.send("the connection is still there")


@pytest.mark.parametrize("shape", TWO_SHAPES, ids=str)
def test_a_connection_lost_in_mid_call_does_not_leave_the_caller_waiting(service, device, proxy, shape):
    asked = threading.Event()

    def answer(request):
        asked.set()
        threading.Event().wait(2)
        return None, None

    with Client(device, shape, host=proxy.address, connection_retry_interval=1) as client:
        client.listen("methods", answer=answer)
        calling = start(lambda: refusal(service.invoke, device, "m", response_timeout_in_seconds=30))
        assert asked.wait(20)
        before = time.monotonic()
        proxy.cut()
        status, _, number = calling.result(20)
        assert (status, number) == (404, 404104)
        assert time.monotonic() - before < 10


@pytest.mark.parametrize("shape", TWO_SHAPES, ids=str)
def test_after_a_cut_methods_arrive_without_a_new_subscription(service, device, proxy, shape):
    with Client(device, shape, host=proxy.address, connection_retry_interval=1) as client:
        client.listen("methods", answer=lambda request: (200, "again"))
        proxy.cut()
        assert service.invoke(device, "m", connect_timeout_in_seconds=20).payload == "again"


def test_a_service_policy_calls_methods_and_a_device_does_not(hub, device):
    for token, status in (
        (tokens.token(hub.host, hub.key("service"), policy="service"), 404),
        (tokens.token(hub.host, hub.key("registryReadWrite"), policy="registryReadWrite"), 401),
        (device.token(), 401),
    ):
        answer = requests.post(
            f"https://{hub.host}/twins/{device.id}/methods?api-version=2021-04-12", json={"methodName": "m"},
            headers={"Authorization": token}, verify=hub.ca_file, timeout=20,
        )  # fmt: skip
        assert answer.status_code == status


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"{}", b'{"methodName":7}', b'{"methodName":null}', b"[" * 100_000,
        b'{"methodName":"m","responseTimeoutInSeconds":"x"}', b'{"methodName":"m","payload":' + b"[" * 100_000,
        b'{"methodName":"' + b"m" * 1000 + b'"}',
    ],
    ids=lambda body: body[:30].decode(),
)  # fmt: skip
def test_a_body_that_is_no_method_call_is_refused_and_the_device_hears_nothing(hub, device, body):
    with Client(device) as client:
        client.listen("methods", answer=lambda request: (200, None))
        answer = call(hub, "POST", f"/twins/{device.id}/methods", data=body)
        assert answer.status_code in (400, 413)
        assert client.methods.empty()


def test_a_payload_over_128_kib_is_refused(hub, device):
    with Client(device) as client:
        client.listen("methods", answer=lambda request: (200, len(request.payload)))
        fits = {"methodName": "m", "payload": "x" * (131_072 - 2)}
        assert call(hub, "POST", f"/twins/{device.id}/methods", json=fits).json()["payload"] == 131_070
        over = {"methodName": "m", "payload": "x" * 131_072}
        answer = call(hub, "POST", f"/twins/{device.id}/methods", json=over)
        assert (answer.status_code, json.loads(answer.json()["Message"])["errorCode"]) == (413, 413001)
