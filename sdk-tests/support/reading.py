# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Readers of events: azure-eventhub in its four shapes, and what they deliver in one common form."""

import asyncio
import dataclasses
import datetime
import threading
import time

from azure.eventhub import EventHubConsumerClient
from azure.eventhub.aio import EventHubConsumerClient as AsyncConsumerClient

# Where a reader begins that is not told: at the beginning of the test, for tests share hubs (see conftest.py).
beginning: datetime.datetime | str = "-1"

# Each official reader: (name, asynchronous, the older of its two AMQP libraries).
READERS = ["pyamqp", "pyamqp-async", "uamqp", "uamqp-async"]


def plain_text(value):
    """Both AMQP libraries hand out strings and symbols as bytes in places; a test compares text."""
    return value.decode() if isinstance(value, bytes) else value


@dataclasses.dataclass(frozen=True)
class Event:
    partition: str
    sequence_number: int
    offset: str
    enqueued_time: datetime.datetime
    body: bytes
    properties: dict
    annotations: dict
    message_id: object = None
    correlation_id: object = None
    user_id: object = None
    content_type: object = None
    content_encoding: object = None
    to: object = None
    last_enqueued: dict | None = None

    @property
    def device(self) -> str:
        return self.annotations["iothub-connection-device-id"]

    @staticmethod
    def of(partition: str, data, last_enqueued=None) -> "Event":
        fields = data.raw_amqp_message.properties
        body = data.body
        return Event(
            partition=partition,
            sequence_number=data.sequence_number,
            offset=data.offset,
            enqueued_time=data.enqueued_time,
            body=body if isinstance(body, bytes) else b"".join(body),
            properties={plain_text(k): plain_text(v) for k, v in (data.properties or {}).items()},
            annotations={plain_text(k): plain_text(v) for k, v in data.raw_amqp_message.annotations.items()},
            message_id=plain_text(fields.message_id) if fields else None,
            correlation_id=plain_text(fields.correlation_id) if fields else None,
            user_id=fields.user_id if fields else None,
            content_type=plain_text(fields.content_type) if fields else None,
            content_encoding=plain_text(fields.content_encoding) if fields else None,
            to=plain_text(fields.to) if fields else None,
            last_enqueued=last_enqueued,
        )


class Sink:
    """Collects events until enough of them, or an error, arrived."""

    def __init__(self, enough, device: str | None):
        self.enough = enough if callable(enough) else lambda events: len(events) >= enough
        self.device = device
        self.events: list[Event] = []
        self.errors: list[Exception] = []
        self.changed = threading.Condition()

    def take(self, context, batch):
        with self.changed:
            for data in batch if isinstance(batch, list) else [batch]:
                if data is None:
                    continue
                event = Event.of(context.partition_id, data, context.last_enqueued_event_properties)
                if self.device is None or event.device == self.device:
                    self.events.append(event)
            self.changed.notify_all()

    def fail(self, error):
        with self.changed:
            self.errors.append(error)
            self.changed.notify_all()

    @property
    def is_done(self) -> bool:
        return bool(self.errors) or self.enough(self.events)

    def wait(self, timeout: float):
        with self.changed:
            self.changed.wait_for(lambda: self.is_done, timeout)


def client(hub, kind: str = "pyamqp", group: str = "$Default", **options):
    """An azure-eventhub consumer client, synchronous or not, that trusts the hub's authority."""
    shape = AsyncConsumerClient if kind.endswith("-async") else EventHubConsumerClient
    return shape.from_connection_string(
        options.pop("connection_string", None) or hub.events(),
        consumer_group=group,
        connection_verify=hub.ca_file,
        uamqp_transport=kind.startswith("uamqp"),
        retry_total=options.pop("retry_total", 0),
        **options,
    )


class Reading:
    """A reader at work in the background; leave the `with` block to stop it."""

    def __init__(
        self,
        hub,
        *,
        kind: str = "pyamqp",
        enough=1,
        device: str | None = None,
        group: str = "$Default",
        batch: int | None = None,
        **options,
    ):
        self.sink = Sink(enough, device)
        self.kind = kind
        self._batch = batch
        self._hub, self._group = hub, group
        self._options = {"starting_position": beginning, **options}
        self._client_options = {
            name: self._options.pop(name)
            for name in ("connection_string", "retry_total", "transport_type")
            if name in self._options
        }
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Reading":
        self._client = None
        self._loop = None
        self._started = threading.Event()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._started.wait(10)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        elif self._client is not None:
            self._client.close()
        self._thread.join(30)
        assert not self._thread.is_alive(), "the reader did not stop"

    def wait(self, timeout: float = 30) -> list[Event]:
        """The events, once there are enough; fails with what arrived when there are not in time."""
        self.sink.wait(timeout)
        if self.sink.errors:
            raise self.sink.errors[0]
        assert self.sink.is_done, f"only {len(self.sink.events)} events in {timeout} s"
        return list(self.sink.events)

    def wait_for_error(self, timeout: float = 30) -> Exception:
        with self.sink.changed:
            self.sink.changed.wait_for(lambda: self.sink.errors, timeout)
        assert self.sink.errors, "no error came"
        return self.sink.errors[0]

    def _run(self):
        if self.kind.endswith("-async"):
            asyncio.run(self._run_async())
            return
        self._client = client(self._hub, self.kind, self._group, **self._client_options)
        self._started.set()
        self._receive(lambda context, error: self.sink.fail(error), self.sink.take)

    def _receive(self, fail, take):
        if self._batch:
            return self._client.receive_batch(
                on_event_batch=take, on_error=fail, max_batch_size=self._batch, max_wait_time=1, **self._options
            )
        return self._client.receive(on_event=take, on_error=fail, **self._options)

    async def _run_async(self):
        self._stopping = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._started.set()

        async def take(context, batch):
            self.sink.take(context, batch)

        async def fail(context, error):
            self.sink.fail(error)

        async with client(self._hub, self.kind, self._group, **self._client_options) as self._client:
            receiving = asyncio.ensure_future(self._receive(fail, take))
            await self._stopping.wait()
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)


def read(hub, enough=1, *, timeout: float = 30, **options) -> list[Event]:
    """Reads until there are enough events (a count, or a question about the list)."""
    with Reading(hub, enough=enough, **options) as reading:
        return reading.wait(timeout)


def last_sequence_number(hub, partition: str) -> int:
    with client(hub) as consumer:
        return consumer.get_partition_properties(partition)["last_enqueued_sequence_number"]


def ends(hub) -> dict[str, int]:
    """The end of each partition, as starting positions: only what comes after is read."""
    with client(hub) as consumer:
        return {
            partition: consumer.get_partition_properties(partition)["last_enqueued_sequence_number"]
            for partition in consumer.get_partition_ids()
        }


def eventually(question, timeout: float = 20, every: float = 0.05):
    """Asks until the answer is true, and returns it."""
    deadline = time.monotonic() + timeout
    while True:
        answer = question()
        if answer:
            return answer
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(every)
