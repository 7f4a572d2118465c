# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""The commands for modules, methods and commands to devices, with an official SDK as the device."""

import json
import threading

import pytest
from azure.iot.device import IoTHubDeviceClient, IoTHubModuleClient, MethodResponse

from support import devices
from support.reading import eventually


@pytest.fixture
def connected(hub, device):
    """A device of the device SDK that keeps the commands it gets and answers methods with what they carry."""
    client = IoTHubDeviceClient.create_from_connection_string(
        device.connection_string, server_verification_cert=hub.ca_text
    )
    client.commands = []
    client.on_message_received = client.commands.append

    def answer(request):
        status = 404 if request.name == "missing" else 200
        client.send_method_response(MethodResponse.create_from_method_request(request, status, request.payload))

    client.on_method_request_received = answer
    client.connect()
    yield client
    client.shutdown()


def test_a_method_is_called_and_its_answer_shown(hub, device, connected):
    text = hub.run("method", "invoke", device.id, "echo", "--payload", '{"a":[1,{"b":"c"}]}')
    status, _, payload = text.partition("\n")
    assert status == "status 200"
    assert json.loads(payload) == {"a": [1, {"b": "c"}]}

    # A status is the device's own word, not a failure of the command.
    answer = json.loads(hub.run("method", "invoke", device.id, "missing", "--json"))
    assert answer["status"] == 404


def test_a_method_of_a_device_that_is_away_is_an_error_that_says_what_to_do(hub, device):
    code, out, error = hub.attempt("method", "invoke", device.id, "echo")
    assert (code, out) == (1, "")
    assert "DeviceNotOnline" in error
    assert "--connect-timeout" in error


def test_a_command_reaches_the_device_with_its_properties_and_its_feedback_comes(hub, device, connected):
    lines = []
    watching = threading.Thread(
        target=lambda: lines.extend(
            hub.attempt("c2d", "feedback", "--count", "1", "--timeout", "20", "--json")[1].splitlines()
        )
    )
    watching.start()
    said = hub.run(
        *["c2d", "send", device.id, "turn left", "--property", "speed=3", "--message-id", "m-1", "--ack", "full"],
        *["--content-type", "text/plain", "--content-encoding", "utf-8", "--correlation-id", "c-1"],
    )
    assert "m-1" in said
    (command,) = eventually(lambda: connected.commands)
    assert command.data == b"turn left"
    assert command.custom_properties == {"speed": "3"}
    assert (command.message_id, command.correlation_id) == ("m-1", "c-1")
    assert (command.content_type, command.content_encoding) == ("text/plain", "utf-8")
    watching.join(30)
    records = [json.loads(line) for line in lines]
    assert ("m-1", "Success") in [(each["originalMessageId"], each["statusCode"]) for each in records]


def test_waiting_commands_are_counted_purged_and_refused_when_there_are_too_many(hub, device):
    sent = json.loads(hub.run("c2d", "send", device.id, "x", "--count", "50", "--json"))
    assert sent["sent"] == len(set(sent["messageIds"])) == 50
    assert json.loads(hub.run("c2d", "list", device.id, "--json")) == [{"deviceId": device.id, "waiting": 50}]
    assert device.id in hub.run("c2d", "list")
    code, out, error = hub.attempt("c2d", "send", device.id, "one more")
    assert (code, out) == (1, "")
    assert "amqp:resource-limit-exceeded" in error
    assert hub.run("c2d", "purge", device.id) == "purged 50 commands\n"
    assert json.loads(hub.run("c2d", "list", device.id, "--json"))[0]["waiting"] == 0
    assert device.id not in hub.run("c2d", "list")


def test_a_command_for_nobody_is_an_error(hub):
    code, _, error = hub.attempt("c2d", "send", "nobody-there", "x")
    assert code == 1
    assert "amqp:not-found" in error


def test_a_module_is_made_and_its_connection_string_works(hub, device):
    made = json.loads(hub.run("module", "create", device.id, "camera", "--managed-by", "us", "--json"))
    assert (made["moduleId"], made["managedBy"]) == ("camera", "us")
    assert [each.module_id for each in devices.registry(hub).get_modules(device.id)] == ["camera"]
    assert "camera" in hub.run("module", "list", device.id)

    string = hub.run("module", "connection-string", device.id, "camera").strip()
    client = IoTHubModuleClient.create_from_connection_string(string, server_verification_cert=hub.ca_text)
    client.connect()
    client.patch_twin_reported_properties({"lens": "wide"})
    client.shutdown()
    assert '"lens": "wide"' in hub.run("twin", "show", device.id, "--module", "camera")
    hub.run("twin", "update", device.id, "--module", "camera", "--desired", '{"zoom":2}')
    assert devices.registry(hub).get_module_twin(device.id, "camera").properties.desired["zoom"] == 2

    hub.run("module", "delete", device.id, "camera")
    assert devices.registry(hub).get_modules(device.id) == []
    code, _, error = hub.attempt("module", "show", device.id, "camera")
    assert code == 1
    assert "ModuleNotFound" in error
