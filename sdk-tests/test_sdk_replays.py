# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""The packets of SDKs that these tests do not run, replayed byte for byte (Tests/Fixtures/mqtt)."""

import concurrent.futures
import json
import time

import pytest
import requests
import websocket

from support import mqtt, tokens
from support.devices import Device, registry
from support.program import ROOT, Hub
from support.reading import read

FIXTURES = ROOT / "Tests" / "Fixtures" / "mqtt"
KEY = "rpTaTBpvq6tFEuB71/WXreyFsWyAGktpJR+cQWUBBJU="
SECONDARY_KEY = "FjZ6rLZ6SgF8jairlWgsyzkIY3gPcRTdoKDgxVZEx8Q="
HOST = "h.example"


@pytest.fixture
def replayed_hub(tmp_path, monkeypatch):
    """A hub that also has the name in the packets, and has given out no request id yet."""
    hub = Hub(tmp_path / "data", "--plain", "--host-name", HOST)
    try:
        hub.start()
        # The service SDK's AMQP library takes the authority from there.
        monkeypatch.setenv("SSL_CERT_FILE", hub.ca_file)
        yield hub
    finally:
        hub.close()


class Tunnel(mqtt.Peer):
    """A peer whose packets go through a WebSocket, as the SDK for Java opens it."""

    class Stream:
        def __init__(self, connection):
            self.connection = connection

        def settimeout(self, timeout):
            self.connection.settimeout(timeout)

        def sendall(self, data):
            self.connection.send_binary(data)

        def recv(self, _):
            try:
                return self.connection.recv()
            except websocket.WebSocketTimeoutException as error:
                raise TimeoutError from error
            except websocket.WebSocketConnectionClosedException as error:
                raise mqtt.Closed from error

        def close(self):
            self.connection.close()

    def __init__(self, hub, timeout: float = 20):
        self.timeout, self.buffer = timeout, b""
        self.socket = self.Stream(
            websocket.create_connection(
                f"wss://{hub.host}:{hub.port('https')}/$iothub/websocket?iothub-no-client-cert=true",
                subprotocols=["mqtt"], sslopt={"ca_certs": hub.ca_file}, timeout=timeout,
            )
        )  # fmt: skip


def steps(name: str):
    """The lines of a fixture: (mark, text, bytes)."""
    found = []
    for line in (FIXTURES / f"{name}.txt").read_text().splitlines():
        if line.startswith("  "):
            found[-1][2] += bytes.fromhex(line)
        elif line and not line.startswith("#"):
            found.append([line[0], line[2:], b""])
    return found


class Replay:
    """One fixture against one hub."""

    def __init__(self, hub, connect, device_id: str, module_id: str | None = None):
        self.hub, self.connect, self.device_id, self.module_id = hub, connect, device_id, module_id
        manager = registry(hub)
        manager.create_device_with_sas(device_id, KEY, SECONDARY_KEY, "enabled")
        if module_id:
            manager.create_module_with_sas(device_id, module_id, "", KEY, SECONDARY_KEY)
        self.executor = concurrent.futures.ThreadPoolExecutor(1)
        self.call = None
        self.events = []

    def run(self, name: str):
        peer = self.connect(self.hub)
        for mark, text, data in steps(name):
            match mark:
                case ">":
                    peer.send(data)
                case "<":
                    packet = peer.receive()
                    assert packet == data, f"{text}:\nwanted {data!r}\ngot    {packet!r}"
                case "-":
                    assert text == "cut" or peer.is_closed()
                    peer.close()
                    peer = self.connect(self.hub)
                case "!":
                    verb, _, rest = text.partition(" ")
                    getattr(self, f"do_{verb}")(rest)
                case "=":
                    verb, _, rest = text.partition(" ")
                    getattr(self, f"check_{verb}")(rest, peer)
        peer.close()
        device = Device(self.hub, self.device_id, KEY, SECONDARY_KEY)
        found = read(self.hub, len(self.events), device=self.device_id, partition_id=device.partition)
        assert [(event.body.decode(), event.properties) for event in found] == self.events

    @property
    def path(self) -> str:
        return f"/twins/{self.device_id}" + (f"/modules/{self.module_id}" if self.module_id else "")

    def ask(self, method: str, path: str, body: str) -> requests.Response:
        policy = "iothubowner"
        answer = requests.request(
            method, f"https://{self.hub.host}:{self.hub.port('https')}{path}?api-version=2021-04-12", data=body,
            headers={"Content-Type": "application/json",
                     "Authorization": tokens.token(self.hub.host, self.hub.key(policy), policy=policy)},
            verify=self.hub.ca_file, timeout=60,
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
        return answer

    def do_desired(self, patch: str):
        self.ask("PATCH", self.path, f'{{"properties":{{"desired":{patch}}}}}')

    def do_method(self, text: str):
        name, _, payload = text.partition(" ")
        payload = f',"payload":{payload}' if payload else ""
        body = f'{{"methodName":"{name}","responseTimeoutInSeconds":20{payload}}}'
        self.call = self.executor.submit(self.ask, "POST", self.path + "/methods", body)

    def check_method(self, text: str, _):
        status, _, payload = text.partition(" ")
        assert self.call.result(30).json() == {"status": int(status), "payload": json.loads(payload)}

    def do_command(self, text: str):
        body, _, properties = text.partition(" ")
        registry(self.hub).send_c2d_message(self.device_id, body, {"messageId": None, **json.loads(properties or "{}")})

    def check_no(self, _, __):
        deadline = time.monotonic() + 10
        while registry(self.hub).get_device(self.device_id).cloud_to_device_message_count:
            assert time.monotonic() < deadline, "the command is still in its queue"

    def check_reported(self, text: str, _):
        reported = registry(self.hub).get_twin(self.device_id).properties.reported
        assert {k: v for k, v in reported.items() if not k.startswith("$")} == json.loads(text)

    def check_event(self, text: str, _):
        body, _, properties = text.partition(" ")
        self.events.append((body, json.loads(properties)))

    def check_refused(self, topic: str, peer):
        packet = peer.receive()
        start = packet.index(topic.encode())
        error = json.loads(packet[start + len(topic) :])
        # The SDK decides by the number and shows the sentence.
        assert error["errorCode"] == 400004
        assert error["message"]
        assert error["trackingId"]
        assert error["timestampUtc"]


def tls(hub):
    return mqtt.Peer(hub)


def test_mqtt_090_the_sdk_for_c(replayed_hub):
    Replay(replayed_hub, tls, "c1").run("c")


def test_mqtt_091_the_sdk_for_node(replayed_hub):
    Replay(replayed_hub, tls, "n1").run("node")


def test_mqtt_092_the_sdk_for_dotnet(replayed_hub):
    Replay(replayed_hub, tls, "s1").run("dotnet")


@pytest.mark.parametrize("connect", [tls, Tunnel])
@pytest.mark.parametrize(("name", "module"), [("java", None), ("java-module", "m1")])
def test_mqtt_093_the_sdk_for_java(replayed_hub, connect, name, module):
    Replay(replayed_hub, connect, "j1", module).run(name)
