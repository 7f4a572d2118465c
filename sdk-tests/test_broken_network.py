# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""The network breaks under Microsoft's device SDK: cut in mid-flow, stalled, refused. Nothing acknowledged is lost."""

import pytest
from azure.iot.device.exceptions import ConnectionDroppedError, ConnectionFailedError, NoConnectionError
from azure.iot.hub.models import Twin, TwinProperties

from support.clients import TWO_SHAPES, Client, Shape
from support.devices import registry
from support.proxy import DOWN, UP
from support.reading import eventually, read
from support.together import start, together


def desired(properties: dict) -> Twin:
    return Twin(properties=TwinProperties(desired=properties))


def through(proxy, device, shape=Shape(), **options) -> Client:  # noqa: B008
    options = {"connection_retry_interval": 1, **options}
    return Client(device, shape, host=proxy.address, **options)


def send(client, body: str):
    """Sends as an application does: in the instant of a cut the SDK says that it has no connection, so again."""

    def sent() -> bool:
        try:
            client.send(body)
        except NoConnectionError:
            return False
        return True

    eventually(sent)


def numbers(hub, device, wanted) -> list[int]:
    wanted = set(wanted)
    events = read(
        hub, lambda all_: {int(e.body) for e in all_} >= wanted, device=device.id, partition_id=device.partition
    )
    return [int(event.body) for event in events]


@pytest.mark.parametrize("direction", [UP, DOWN])
@pytest.mark.parametrize("shape", TWO_SHAPES, ids=str)
def test_a_cut_in_mid_flow_loses_no_message(hub, device, proxy, shape, direction):
    # One message at a time: when paho-mqtt 1.6 writes into a TLS connection that has just ended, its thread may end
    # with SSLEOFError, and the SDK never learns that there is no connection any more.
    with through(proxy, device, shape) as client:
        for n in range(60):
            if n in (20, 40):
                # In the middle of a packet up, or of a PUBACK down.
                proxy.cut_after(1000 if direction == UP else 50, direction)
            send(client, str(n) + " " * 300)
        assert proxy.connections == 3
    assert set(numbers(hub, device, range(60))) == set(range(60))


def test_lost_acknowledgements_make_messages_come_twice_and_never_not_at_all(hub, device, proxy):
    with through(proxy, device) as client:
        client.send("0")
        proxy.stall(DOWN)
        sends = [start(client.send, str(n)) for n in range(1, 6)]
        # They have arrived, and their sender can't know it.
        assert set(numbers(hub, device, range(6))) == set(range(6))
        assert not any(each.done() for each in sends)
        proxy.cut()
        proxy.resume()
        for each in sends:
            each.result(30)
    stored = numbers(hub, device, range(6))
    assert stored[:6] == [0, *sorted(stored[1:6])]
    assert len(stored) >= 6


@pytest.mark.parametrize("shape", TWO_SHAPES, ids=str)
def test_mqtt_089_after_a_cut_the_session_still_has_what_the_client_subscribed(hub, device, proxy, shape):
    with through(proxy, device, shape) as client:
        client.listen("desired")
        states = []
        client.sdk.on_connection_state_change = lambda: states.append(client.sdk.connected)
        proxy.cut()
        eventually(lambda: states[-2:] == [False, True])
        # The SDK does not subscribe again: it counts on the hub to have kept its filters.
        registry(hub).update_twin(device.id, desired({"first": 1}))
        client.wait_for_desired({"first": 1, "$version": 2})
        registry(hub).update_twin(device.id, desired({"after": 1}))
        assert client.wait_for_desired({"after": 1, "$version": 3}) == []


def test_mqtt_084_a_change_while_the_network_is_away_is_in_the_twin_that_the_client_reads(hub, device, proxy):
    with through(proxy, device) as client:
        client.listen("desired")
        proxy.refuse()
        proxy.cut()
        eventually(lambda: not client.sdk.connected)
        registry(hub).update_twin(device.id, desired({"missed": 1}))
        proxy.accept()
        eventually(lambda: client.sdk.connected)
        client.wait_for_desired({"missed": 1, "$version": 2})
        registry(hub).update_twin(device.id, desired({"told": 1}))
        assert client.wait_for_desired({"told": 1, "$version": 3}) == []


def test_while_connections_are_refused_the_client_keeps_trying_and_sends_when_it_may(hub, device, proxy):
    with through(proxy, device) as client:
        client.send("0")
        proxy.refuse()
        proxy.cut()
        eventually(lambda: not client.sdk.connected)
        with pytest.raises(ConnectionFailedError):
            client.call("connect")
        proxy.accept()
        eventually(lambda: client.sdk.connected)
        client.send("1")
    assert numbers(hub, device, range(2)) == [0, 1]


def test_a_network_that_swallows_everything_is_noticed_by_both_sides(hub, device, proxy):
    with through(proxy, device, keep_alive=2) as client:
        client.send("0")
        proxy.stall()
        # Nobody says a word: the client misses the answer to its ping, the hub what it was promised.
        eventually(lambda: not client.sdk.connected)
        eventually(lambda: registry(hub).get_device(device.id).connection_state == "Disconnected")
        proxy.resume()
        eventually(lambda: client.sdk.connected)
        client.send("1")
    assert numbers(hub, device, range(2)) == [0, 1]


def test_a_report_that_was_confirmed_is_in_the_twin_whatever_was_cut(hub, device, proxy):
    with through(proxy, device) as client:
        client.report({"n": 0})
        confirmed = 0
        for n in range(1, 60):
            if n % 10 == 5:
                proxy.cut_after(120 + n, DOWN if n % 20 == 5 else UP)
            try:
                client.report({"n": n})
            except (ConnectionDroppedError, NoConnectionError):
                eventually(lambda: client.sdk.connected)
                continue
            confirmed = n
        eventually(lambda: client.sdk.connected)
        reported = client.twin()["reported"]
    assert reported["n"] >= confirmed
    assert registry(hub).get_twin(device.id).properties.reported["$version"] == reported["$version"]


def test_a_wave_of_devices_comes_back_after_a_cut(hub, make, proxy):
    devices = [make("wave") for _ in range(3)]
    clients = [through(proxy, device) for device in devices]
    together(Client.connect, clients)
    together(lambda client: client.send("0"), clients)
    proxy.cut()
    together(lambda client: send(client, "1"), clients)
    together(Client.close, clients)
    for device in devices:
        assert set(numbers(hub, device, range(2))) == {0, 1}
