# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""The command line where something goes wrong: what it says, and the exit code that scripts decide by."""

import subprocess

import pytest

from support.clients import Client
from support.program import program

FAILURE, UNAVAILABLE, OUTPUT_FAILED, DENIED, BROKEN_PIPE = 1, 69, 74, 77, 141


def elsewhere(*arguments):
    """Runs a command that is told all by its arguments."""
    done = subprocess.run([str(program()), *arguments], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("output", [[], ["--json"]])
def test_a_tail_ends_when_nobody_reads_it_any_more(hub, device, output):
    hub.run("send-telemetry", "--device", device.id)
    command = [str(program()), "events", "--from", "start", "--data", str(hub.data), *output]
    tail = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert tail.stdout.readline()
        tail.stdout.close()
        hub.run("send-telemetry", "--device", device.id)
        assert tail.wait(30) == BROKEN_PIPE
        assert "Error" not in tail.stderr.read()
    finally:
        tail.kill()
        tail.wait()


def test_output_that_cannot_be_written_is_an_error(hub):
    command = [str(program()), "device", "list", "--data", str(hub.data)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == OUTPUT_FAILED
    assert done.stderr == "Error: the output cannot be written: No space left on device.\n"


@pytest.mark.parametrize(
    "command", ["device show", "device delete", "twin show", "module list", "connection-string device", "ca remove"]
)
def test_an_empty_id_is_told_as_such(hub, command):
    assert hub.attempt(*command.split(), "") == (FAILURE, "", "Error: an id is empty.\n")


@pytest.mark.parametrize(
    "command", ["device list", "events --timeout 1", "c2d send d text", "c2d feedback --timeout 1", "ca list"]
)
def test_a_wrong_key_is_denied_whatever_the_protocol(hub, command):
    string = f"HostName={hub.host};SharedAccessKeyName=service;SharedAccessKey=AAAA"
    code, out, error = elsewhere(*command.split(), "--connection-string", string, "--ca-file", hub.ca_file)
    assert (code, out) == (DENIED, "")
    assert "status 401). See that the connection string is this hub's" in error


@pytest.mark.parametrize("command", ["device list", "events", "send-telemetry --device d"])
def test_a_certificate_that_is_not_trusted_is_told_in_words(hub, device, command, tmp_path):
    policy = "SharedAccessKeyName=iothubowner;SharedAccessKey=AAAA"
    string = device.connection_string if "send" in command else f"HostName={hub.host};{policy}"
    words = ["send-telemetry"] if "send" in command else command.split()
    code, out, error = elsewhere(*words, "--connection-string", string)
    assert (code, out) == (UNAVAILABLE, "")
    assert "failed (the certificate is not trusted). Give the hub's authority with --ca-file FILE" in error

    empty = tmp_path / "empty.pem"
    for file, reason in [(tmp_path / "absent", "No such file or directory"), (empty, "it holds no certificate")]:
        empty.touch()
        code, _, error = elsewhere(*words, "--connection-string", string, "--ca-file", str(file))
        assert code == FAILURE
        assert f"Error: cannot read the certificate authorities in {file}: {reason}" in error


def test_a_port_that_does_not_speak_tls_is_told_as_such(hub):
    code, _, error = hub.attempt("device", "list", "--https-port", str(hub.port("http")))
    assert code == UNAVAILABLE
    assert "speak TLS" in error


@pytest.mark.parametrize(
    "command", ["device create --from FILE", "twin update d FILE", "c2d send d FILE", "simulate --template FILE"]
)
def test_a_file_that_cannot_be_read_is_told_with_the_reason(hub, command, tmp_path):
    def attempt(file):
        marked = str(file) if "--from" in command else f"@{file}"
        return hub.attempt(*[marked if word == "FILE" else word for word in command.split()])

    assert attempt(tmp_path / "no") == (FAILURE, "", f"Error: cannot read {tmp_path}/no: No such file or directory.\n")
    assert attempt(tmp_path) == (FAILURE, "", f"Error: cannot read {tmp_path}: Is a directory.\n")


def test_a_twin_document_that_would_change_nothing_is_refused(hub, device):
    code, _, error = hub.attempt("twin", "update", device.id, '{"desired":{"a":1}}')
    assert code == FAILURE
    assert 'it has neither "tags" nor "properties"' in error


def test_a_hub_that_is_down_is_told_with_what_to_do(own_hub):
    own_hub.start()
    own_hub.stop()
    for command in ["device list", "events", "c2d send d text", "ca list", "bench --devices 2", "simulate"]:
        code, out, error = own_hub.attempt(*command.split())
        assert (code, out) == (UNAVAILABLE, ""), command
        assert "(Connection refused). Is the hub running there? Start it with 'roost serve'" in error


def test_a_command_keeps_every_byte_of_a_file(hub, device, tmp_path):
    file = tmp_path / "body"
    file.write_bytes(bytes(range(256)))
    hub.run("c2d", "send", device.id, f"@{file}")
    with Client(device) as client:
        assert client.receive().data == bytes(range(256))
