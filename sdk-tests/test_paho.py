# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""paho-mqtt without any SDK above it, as many devices use it."""

import ssl
import threading

import paho.mqtt.client as paho

from support.reading import read


class Connection:
    """A paho client whose events a test can wait for."""

    def __init__(self, device, password: str, *, transport: str = "tcp", clean: bool = True):
        self.client = paho.Client(device.id, clean_session=clean, protocol=paho.MQTTv311, transport=transport)
        self.client.username_pw_set(device.username, password)
        self.client.tls_set_context(ssl.create_default_context(cafile=device.hub.ca_file))
        self.answered, self.code, self.flags = threading.Event(), None, None
        self.client.on_connect = self._connected
        if transport == "websockets":
            self.client.ws_set_options("/$iothub/websocket")
        self.client.connect(device.hub.host, device.hub.port("https" if transport == "websockets" else "mqtts"))
        self.client.loop_start()

    def _connected(self, client, user_data, flags, code):
        self.code, self.flags = code, flags
        self.answered.set()

    def __enter__(self) -> "Connection":
        assert self.answered.wait(20), "no CONNACK"
        return self

    def __exit__(self, *_):
        self.client.disconnect()
        self.client.loop_stop()


def test_paho_publishes_with_each_quality_that_the_hub_takes(device):
    with Connection(device, device.token()) as connection:
        assert connection.code == 0
        for qos in (0, 1):
            sent = connection.client.publish(device.topic + f"qos={qos}", f"qos {qos}", qos=qos)
            sent.wait_for_publish(20)
            assert sent.is_published()
    events = read(device.hub, 2, device=device.id, partition_id=device.partition)
    assert [(event.body, event.properties) for event in events] == [(b"qos 0", {"qos": "0"}), (b"qos 1", {"qos": "1"})]


def test_paho_learns_that_a_forged_token_is_refused(device, make):
    with Connection(device, device.token(key=make().key)) as connection:
        assert connection.code == 5


def test_paho_resumes_a_session(device):
    with Connection(device, device.token(), clean=False) as connection:
        assert connection.flags["session present"] == 1


def test_paho_keeps_a_window_of_messages_in_order(device):
    with Connection(device, device.token()) as connection:
        connection.client.max_inflight_messages_set(100)
        sent = [connection.client.publish(device.topic, str(n), qos=1) for n in range(500)]
        for each in sent:
            each.wait_for_publish(30)
    events = read(device.hub, 500, device=device.id, partition_id=device.partition)
    assert [int(event.body) for event in events] == list(range(500))
