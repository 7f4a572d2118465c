# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""MQTT and AMQP through WebSockets on the HTTPS port."""

import pytest
import websocket
from azure.eventhub import TransportType

from support import mqtt
from support.reading import read
from test_amqp_slow_peers import greedy_opening, publish

AMQP_HEADER = b"AMQP\x00\x01\x00\x00"


def tunnel(hub, path: str, protocol: str) -> websocket.WebSocket:
    return websocket.create_connection(
        f"wss://{hub.host}:{hub.port('https')}{path}",
        subprotocols=[protocol], sslopt={"ca_certs": hub.ca_file}, timeout=20,
    )  # fmt: skip


def receive(connection: websocket.WebSocket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += connection.recv()
    return data


@pytest.mark.parametrize("protocol", ["mqtt", "MQTT"])
@pytest.mark.parametrize("query", ["", "?iothub-no-client-cert=true"])
def test_mqtt_034_mqtt_035_a_tunnel_speaks_mqtt_in_the_clients_spelling(device, protocol, query):
    connection = tunnel(device.hub, "/$iothub/websocket" + query, protocol)
    assert connection.getsubprotocol() == protocol.lower() or connection.headers["sec-websocket-protocol"] == protocol
    connection.send_binary(device.connect_packet(clean=True))
    assert receive(connection, 4) == b"\x20\x02\x00\x00"
    connection.close()


def test_mqtt_036_packets_and_frames_need_not_coincide(device):
    connection = tunnel(device.hub, "/$iothub/websocket", "mqtt")
    packet = device.connect_packet(clean=True)
    for piece in (packet[:1], packet[1:40], packet[40:]):
        connection.send_binary(piece)
    assert receive(connection, 4) == b"\x20\x02\x00\x00"
    connection.send_binary(b"".join(mqtt.publish(device.topic, b"%d" % n, packet_id=n) for n in (1, 2, 3)))
    assert receive(connection, 12) == b"\x40\x02\x00\x01\x40\x02\x00\x02\x40\x02\x00\x03"
    connection.close()
    events = read(device.hub, 3, device=device.id, partition_id=device.partition)
    assert [event.body for event in events] == [b"1", b"2", b"3"]


def test_a_device_may_send_more_once_it_has_signed_in(device):
    connection = tunnel(device.hub, "/$iothub/websocket", "mqtt")
    connection.send_binary(device.connect_packet(clean=True))
    assert receive(connection, 4) == b"\x20\x02\x00\x00"
    for number in range(1, 9):
        connection.send_binary(mqtt.publish(device.topic, bytes(100_000), packet_id=number))
    assert receive(connection, 32) == b"".join(b"\x40\x02\x00%c" % number for number in range(1, 9))
    connection.close()


def test_a_stranger_may_not_send_much(hub):
    connection = tunnel(hub, "/$iothub/websocket", "mqtt")
    # The begin of a frame of 1 MiB, whose end never comes.
    begin = b"\x82\xff" + (1 << 20).to_bytes(8, "big") + bytes(4 + 300_000)
    try:
        connection.sock.sendall(begin)
        while connection.sock.recv(65_536):
            pass
    except TimeoutError:
        pytest.fail("the connection stays open")
    except OSError:
        pass


@pytest.mark.parametrize(("sent", "answer"), [(1000, 1000), (4000, 4000), (1006, 1002), (5, 1002), (None, 1000)])
def test_a_closing_frame_is_answered_with_its_code_where_that_may_be_sent(hub, sent, answer):
    connection = tunnel(hub, "/$iothub/websocket", "mqtt")
    connection.send(b"" if sent is None else sent.to_bytes(2, "big"), websocket.ABNF.OPCODE_CLOSE)
    opcode, data = connection.recv_data(control_frame=True)
    assert (opcode, data) == (websocket.ABNF.OPCODE_CLOSE, answer.to_bytes(2, "big"))


@pytest.mark.parametrize(
    "path",
    [
        "/$iothub/websocket", "/$iothub/websocket/", "/$iothub/websocket?iothub-no-client-cert=true",
        "/$servicebus/websocket", "/$servicebus/websocket/", "/%24iothub/websocket",
    ],
)  # fmt: skip
def test_amqp_009_amqp_010_event_hubs_015_each_path_tunnels_amqp_cut_anywhere(hub, path):
    connection = tunnel(hub, path, "AMQPWSB10")
    assert connection.headers["sec-websocket-protocol"] == "AMQPWSB10"
    for piece in (AMQP_HEADER[:3], AMQP_HEADER[3:]):
        connection.send_binary(piece)
    assert receive(connection, 8) == AMQP_HEADER
    connection.close()


@pytest.mark.parametrize(("path", "protocol"), [("/$iothub/websocket", "nonsense"), ("/elsewhere", "mqtt")])
def test_an_unknown_path_or_protocol_gets_no_tunnel(hub, path, protocol):
    with pytest.raises(websocket.WebSocketBadStatusException) as refusal:
        tunnel(hub, path, protocol)
    assert refusal.value.status_code in (400, 404)


@pytest.mark.parametrize("kind", ["pyamqp", "pyamqp-async"])
def test_event_hubs_015_the_event_hubs_sdk_reads_over_a_websocket(device, kind):
    with device.sign_in() as peer:
        peer.send(mqtt.publish(device.topic, b"tunnelled"))
        peer.receive()
    # This transport gives a connection one second. A reader without retries and without on_error hides that it
    # failed, spins for the 30 to 36 s until it claims the partition again, and on a busy machine fails again.
    (event,) = read(
        device.hub, kind=kind, device=device.id, partition_id=device.partition, retry_total=5,
        transport_type=TransportType.AmqpOverWebsocket,
    )  # fmt: skip
    assert event.body == b"tunnelled"


def test_no_message_of_the_hub_is_larger_than_the_sdks_for_java_take(device):
    hub = device.hub
    publish(device, 20, 60_000)
    connection = tunnel(hub, "/$servicebus/websocket", "AMQPWSB10")
    connection.send_binary(greedy_opening(hub, device.partition))
    sizes = []
    while sum(sizes) < 1_000_000:
        sizes.append(len(connection.recv()))
    connection.close()
    assert max(sizes) <= 65_536
