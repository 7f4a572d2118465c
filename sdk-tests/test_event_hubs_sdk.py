# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Reading with Microsoft's Event Hubs SDK: positions, consumer groups, owner levels, batches, properties."""

import datetime

import pytest
from azure.eventhub.exceptions import AuthenticationError, ConnectError, ConnectionLostError, EventHubError

from support import mqtt
from support.reading import READERS, Reading, client, ends, eventually, last_sequence_number, read


@pytest.fixture
def sent(device):
    """Ten events of one device, already acknowledged, and the sequence numbers that they got."""
    send(device, range(10))
    return read(device.hub, 10, device=device.id, partition_id=device.partition)


def send(device, numbers):
    with device.sign_in() as peer:
        for number in numbers:
            peer.send(mqtt.publish(device.topic, str(number).encode(), packet_id=number + 1))
            assert peer.receive() == b"\x40\x02" + (number + 1).to_bytes(2, "big")


def bodies(events):
    return [int(event.body) for event in events]


def start_at(device, kind="pyamqp", count=1, **options):
    return read(device.hub, count, device=device.id, partition_id=device.partition, kind=kind, **options)


@pytest.mark.parametrize("kind", READERS)
def test_event_hubs_030_from_the_start_means_the_first_event_retained(device, sent, kind):
    everything = read(device.hub, 1, partition_id=device.partition, kind=kind, starting_position="-1")
    assert everything[0].sequence_number == 0
    assert bodies(start_at(device, kind, 10, starting_position="-1")) == list(range(10))


@pytest.mark.parametrize("kind", READERS)
def test_event_hubs_031_by_sequence_number_with_and_without_the_event_itself(device, sent, kind):
    number = sent[4].sequence_number
    assert bodies(start_at(device, kind, 5, starting_position=number)) == [5, 6, 7, 8, 9]
    inclusive = start_at(device, kind, 6, starting_position=number, starting_position_inclusive=True)
    assert bodies(inclusive) == [4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("kind", READERS)
def test_event_hubs_031_by_offset_with_and_without_the_event_itself(device, sent, kind):
    offset = sent[6].offset
    assert bodies(start_at(device, kind, 3, starting_position=offset)) == [7, 8, 9]
    inclusive = start_at(device, kind, 4, starting_position=offset, starting_position_inclusive=True)
    assert bodies(inclusive) == [6, 7, 8, 9]


@pytest.mark.parametrize("kind", READERS)
def test_by_time_starts_after_that_instant(device, sent, kind):
    mark = max(event.enqueued_time for event in sent)
    eventually(lambda: datetime.datetime.now(datetime.UTC) > mark + datetime.timedelta(milliseconds=20))
    send(device, range(10, 15))
    assert bodies(start_at(device, kind, 5, starting_position=mark)) == list(range(10, 15))
    first = sent[0].enqueued_time
    again = start_at(device, kind, 15, starting_position=first, starting_position_inclusive=True)
    assert bodies(again) == list(range(15))


@pytest.mark.parametrize("kind", READERS)
def test_event_hubs_030_from_the_end_means_only_what_comes_after(device, sent, kind):
    with Reading(
        device.hub, kind=kind, device=device.id, partition_id=device.partition, starting_position="@latest"
    ) as reading:
        number = 100

        def next_one():
            nonlocal number
            send(device, [number])
            number += 1
            return reading.sink.is_done

        # The SDK hands events out when there is a pause, or 300 of them.
        eventually(next_one, every=0.5)
        events = reading.wait()
    assert events[0].sequence_number > sent[-1].sequence_number
    assert min(bodies(events)) >= 100


@pytest.mark.parametrize("kind", READERS)
def test_event_hubs_049_two_consumer_groups_both_read_everything(device, sent, kind):
    with (
        Reading(device.hub, kind=kind, enough=10, device=device.id, partition_id=device.partition) as first,
        Reading(
            device.hub, kind=kind, enough=10, device=device.id, partition_id=device.partition, group="second"
        ) as second,
    ):
        assert bodies(first.wait()) == bodies(second.wait()) == list(range(10))


@pytest.mark.parametrize("kind", ["pyamqp", "uamqp"])
def test_event_hubs_057_an_unknown_consumer_group_is_not_found(hub, kind):
    with Reading(hub, kind=kind, partition_id="0", group="nobody-made-it") as reading:
        error = reading.wait_for_error()
    assert isinstance(error, EventHubError)
    assert "could not be found" in str(error)


@pytest.mark.parametrize("kind", READERS)
def test_receive_batch_hands_out_lists(device, sent, kind):
    events = start_at(device, kind, 10, batch=4)
    assert bodies(events) == list(range(10))


@pytest.mark.parametrize("kind", READERS)
def test_all_partitions_are_read_by_one_client(hub, make, kind):
    devices = {}
    while len(devices) < 4:
        device = make("spread")
        devices.setdefault(device.partition, device)
    start = ends(hub)
    for device in devices.values():
        send(device, range(5))
    wanted = {device.id for device in devices.values()}
    with Reading(
        hub, kind=kind, enough=lambda all_: sum(event.device in wanted for event in all_) >= 20, starting_position=start
    ) as reading:
        events = [event for event in reading.wait(60) if event.device in wanted]
    for partition, device in devices.items():
        own = [event for event in events if event.device == device.id]
        assert bodies(own) == list(range(5))
        assert {event.partition for event in own} == {partition}


@pytest.mark.parametrize("kind", ["pyamqp", "uamqp"])
def test_event_hubs_050_a_higher_owner_level_displaces(device, sent, kind):
    place = {"device": device.id, "partition_id": device.partition, "kind": kind, "group": "second"}
    with Reading(device.hub, enough=10, owner_level=5, **place) as old:
        assert len(old.wait()) == 10
        with Reading(device.hub, enough=10, owner_level=6, **place) as new:
            assert len(new.wait()) == 10
            error = old.wait_for_error()
    assert isinstance(error, ConnectionLostError)
    assert "with higher epoch of '6' is created" in str(error)


@pytest.mark.parametrize("kind", ["pyamqp", "uamqp"])
def test_event_hubs_051_a_lower_owner_level_is_refused_and_the_holder_reads_on(device, sent, kind):
    place = {"device": device.id, "partition_id": device.partition, "kind": kind, "group": "second"}
    with Reading(device.hub, enough=11, owner_level=5, **place) as holder:
        eventually(lambda: len(holder.sink.events) == 10)
        with Reading(device.hub, owner_level=4, **place) as lower:
            error = lower.wait_for_error()
        assert isinstance(error, ConnectionLostError)
        assert "with a higher epoch '5' already exists" in str(error)
        send(device, [10])
        assert bodies(holder.wait()) == list(range(11))


@pytest.mark.parametrize("kind", ["pyamqp", "uamqp"])
def test_event_hubs_052_an_equal_owner_level_displaces(device, sent, kind):
    place = {"device": device.id, "partition_id": device.partition, "kind": kind, "group": "second"}
    with Reading(device.hub, enough=10, owner_level=0, **place) as old:
        old.wait()
        with Reading(device.hub, enough=10, owner_level=0, **place) as new:
            assert len(new.wait()) == 10
            assert isinstance(old.wait_for_error(), ConnectionLostError)


@pytest.mark.parametrize("kind", ["pyamqp", "uamqp"])
def test_event_hubs_053_a_reader_without_owner_level_is_refused_beside_one_with(device, sent, kind):
    place = {"device": device.id, "partition_id": device.partition, "kind": kind, "group": "second"}
    with Reading(device.hub, enough=10, owner_level=1, **place) as holder:
        holder.wait()
        with Reading(device.hub, **place) as other:
            error = other.wait_for_error()
    assert isinstance(error, ConnectionLostError)
    assert "non-epoch receiver is not allowed" in str(error)


def test_event_hubs_017_event_hubs_018_properties_of_the_hub_and_of_a_partition(device, sent):
    hub = device.hub
    for kind in ("pyamqp", "uamqp"):
        with client(hub, kind) as consumer:
            about = consumer.get_eventhub_properties()
            assert about["eventhub_name"] == hub.event_hub
            assert about["partition_ids"] == ["0", "1", "2", "3"]
            assert about["created_at"] < datetime.datetime.now(datetime.UTC)
            assert consumer.get_partition_ids() == ["0", "1", "2", "3"]
            part = consumer.get_partition_properties(device.partition)
        assert part["eventhub_name"] == hub.event_hub
        assert part["id"] == device.partition
        assert part["is_empty"] is False
        assert part["beginning_sequence_number"] == 0
        assert part["last_enqueued_sequence_number"] >= sent[-1].sequence_number
        assert int(part["last_enqueued_offset"]) >= int(sent[-1].offset)
        assert part["last_enqueued_time_utc"] >= sent[-1].enqueued_time


@pytest.mark.parametrize("kind", ["pyamqp", "uamqp"])
def test_event_hubs_025_an_empty_partition_says_so(own_hub, kind):
    with client(own_hub.start(), kind) as consumer:
        part = consumer.get_partition_properties("0")
    assert part["is_empty"] is True
    assert part["last_enqueued_time_utc"].year == 1
    assert part["last_enqueued_sequence_number"] == -1


@pytest.mark.parametrize("kind", READERS)
def test_event_hubs_045_the_end_of_the_partition_comes_with_each_event_when_asked_for(device, sent, kind):
    events = start_at(device, kind, 10, track_last_enqueued_event_properties=True)
    last = last_sequence_number(device.hub, device.partition)
    for event in events:
        assert sent[-1].sequence_number <= event.last_enqueued["sequence_number"] <= last
        assert int(event.last_enqueued["offset"]) >= int(sent[-1].offset)
        assert event.last_enqueued["enqueued_time"] >= sent[-1].enqueued_time
        assert event.last_enqueued["retrieval_time"] is not None


@pytest.mark.parametrize("kind", ["pyamqp", "uamqp"])
def test_event_hubs_002_the_entity_is_found_in_any_letter_case(device, sent, kind):
    name = device.hub.event_hub
    string = device.hub.events(entity=name.upper() if name != name.upper() else name.lower())
    assert len(start_at(device, kind, 10, connection_string=string)) == 10


@pytest.mark.parametrize("kind", ["pyamqp", "uamqp"])
@pytest.mark.parametrize("policy", ["device", "registryRead", "registryReadWrite"])
def test_event_hubs_003_a_policy_without_service_connect_reads_nothing(hub, kind, policy):
    with Reading(hub, kind=kind, partition_id="0", connection_string=hub.events(policy)) as reading:
        assert isinstance(reading.wait_for_error(), AuthenticationError | ConnectionLostError | ConnectError)
        assert reading.sink.events == []


@pytest.mark.parametrize("kind", ["pyamqp", "uamqp"])
def test_event_hubs_004_both_keys_of_a_policy_read(device, sent, kind):
    for which in ("primaryKey", "secondaryKey"):
        for policy in ("service", "iothubowner"):
            string = device.hub.events(policy, which)
            assert len(start_at(device, kind, 10, connection_string=string)) == 10


@pytest.mark.parametrize("kind", ["pyamqp", "uamqp"])
def test_event_hubs_005_a_wrong_key_reads_nothing(hub, kind):
    wrong = hub.events().replace(hub.key("service"), hub.key("device"))
    with Reading(hub, kind=kind, partition_id="0", connection_string=wrong) as reading:
        assert isinstance(reading.wait_for_error(), AuthenticationError)


def test_event_hubs_055_event_hubs_056_five_readers_fit_and_leave_room_when_they_are_gone(device, sent):
    import contextlib

    place = {"device": device.id, "partition_id": device.partition, "group": "second", "enough": 10}
    for _ in range(2):
        with contextlib.ExitStack() as stack:
            readers = [stack.enter_context(Reading(device.hub, **place)) for _ in range(5)]
            for reader in readers:
                assert len(reader.wait()) == 10
            sixth = stack.enter_context(Reading(device.hub, **place))
            assert "Exceeded the maximum number of allowed receivers" in str(sixth.wait_for_error())


def test_event_hubs_048_offsets_hold_after_a_restart(own_hub):
    from support.devices import make_device

    hub = own_hub.start()
    device = make_device(hub)
    send(device, range(10))
    before = read(hub, 10, partition_id=device.partition)
    hub.stop()
    hub.start()
    send(device, range(10, 13))
    after = read(hub, 3 + 4, partition_id=device.partition, starting_position=before[5].offset)
    assert bodies(after) == [6, 7, 8, 9, 10, 11, 12]
    assert [event.sequence_number for event in after] == list(range(6, 13))
    assert [event.offset for event in after[:4]] == [event.offset for event in before[6:]]
    assert [event.enqueued_time for event in after[:4]] == [event.enqueued_time for event in before[6:]]


def test_event_hubs_034_a_reader_that_never_settles_gets_more_than_10000_events(hub, make):
    device = make("many")
    with device.sign_in() as peer:
        for start in range(0, 12_000, 500):
            numbers = range(start, start + 500)
            peer.send(*(mqtt.publish(device.topic, str(n).encode(), packet_id=n + 1) for n in numbers))
            for n in numbers:
                assert peer.receive() == b"\x40\x02" + (n + 1).to_bytes(2, "big")
    events = read(hub, 12_000, device=device.id, partition_id=device.partition, timeout=120)
    assert bodies(events) == list(range(12_000))
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers))


def test_event_hubs_054_a_reader_with_owner_level_displaces_all_without(device, sent):
    import contextlib

    place = {"device": device.id, "partition_id": device.partition, "group": "second", "enough": 10}
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Reading(device.hub, **place)) for _ in range(5)]
        for reader in readers:
            assert len(reader.wait()) == 10
        owner = stack.enter_context(Reading(device.hub, owner_level=0, **place))
        assert len(owner.wait()) == 10
        for reader in readers:
            assert isinstance(reader.wait_for_error(), ConnectionLostError)


@pytest.mark.parametrize("kind", ["pyamqp", "pyamqp-async"])
def test_event_hubs_016_the_emulators_connection_string_reads_without_tls(device, sent, kind):
    string = device.hub.events() + ";UseDevelopmentEmulator=true"
    assert bodies(start_at(device, kind, 10, connection_string=string)) == list(range(10))


def test_security_048_a_reader_that_is_told_another_endpoint_uses_it(device, sent):
    from azure.eventhub import TransportType

    endpoint = f"sb://{device.hub.host}:{device.hub.port('amqps')}"
    with client(device.hub, custom_endpoint_address=endpoint, transport_type=TransportType.Amqp) as consumer:
        assert consumer.get_partition_ids() == ["0", "1", "2", "3"]
