# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Microsoft's service SDK manages devices over HTTPS."""

import base64

import pytest
import requests
from azure.iot.hub import IoTHubRegistryManager
from msrest.exceptions import HttpOperationError

from support import tokens
from support.devices import make_device, registry
from support.reading import eventually

VERSION = {"api-version": "2021-04-12"}


def refusal(call, *arguments) -> HttpOperationError:
    with pytest.raises(HttpOperationError) as caught:
        call(*arguments)
    return caught.value


def call(hub, method: str, path: str, *, token: str | None = "own", headers=None, **options) -> requests.Response:
    """A request without an SDK, for what the SDK cannot send."""
    headers = dict(headers or {})
    if token == "own":
        token = tokens.token(hub.host, hub.key("iothubowner"), policy="iothubowner")
    if token:
        headers["Authorization"] = token
    options.setdefault("params", VERSION)
    return requests.request(
        method, f"https://{hub.host}{path}", headers=headers, verify=hub.ca_file, timeout=20, **options
    )


def error_code(answer: requests.Response) -> str:
    """The code that SDKs read, after checking that the refusal has the parts that they need."""
    assert answer.headers["iothub-errorcode"]
    assert {"Message", "ExceptionMessage"} <= answer.json().keys()
    return answer.headers["iothub-errorcode"]


def test_rest_service_016_rest_service_019_rest_service_020_a_new_device_has_two_keys_and_an_etag(hub):
    manager = registry(hub)
    made = manager.create_device_with_sas("made-by-sdk", "", "", "enabled")
    keys = made.authentication.symmetric_key
    assert made.authentication.type == "sas"
    assert keys.primary_key != keys.secondary_key
    assert {len(base64.b64decode(key)) for key in (keys.primary_key, keys.secondary_key)} == {32}
    assert made.status == "enabled"
    assert made.connection_state == "Disconnected"
    assert made.generation_id
    again = manager.get_device("made-by-sdk")
    assert again.as_dict() == made.as_dict()
    raw = call(hub, "GET", "/devices/made-by-sdk")
    assert raw.headers["ETag"] == f'"{made.etag}"'
    assert raw.json()["etag"] == made.etag
    manager.delete_device("made-by-sdk")


def test_rest_service_017_given_keys_are_kept(hub):
    primary, secondary = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
    manager = registry(hub)
    made = manager.create_device_with_sas("given-keys", primary, secondary, "disabled")
    assert made.authentication.symmetric_key.primary_key == primary
    assert made.authentication.symmetric_key.secondary_key == secondary
    assert made.status == "disabled"
    manager.delete_device("given-keys")


@pytest.mark.parametrize("key", [base64.b64encode(b"fifteen bytes!!").decode(), "not base64!"])
def test_rest_service_018_a_short_or_malformed_key_is_refused(hub, key):
    other = base64.b64encode(b"s" * 32).decode()
    assert refusal(registry(hub).create_device_with_sas, "short-key", key, other, "enabled").response.status_code == 400


def test_rest_service_021_rest_service_022_rest_service_023_writes_follow_the_etag(hub, device):
    manager = registry(hub)
    assert refusal(manager.create_device_with_sas, device.id, "", "", "enabled").response.status_code == 409
    missing = call(hub, "PUT", "/devices/nowhere", headers={"If-Match": '"*"'}, json={"deviceId": "nowhere"})
    assert missing.status_code == 404
    first = manager.get_device(device.id).etag
    changed = manager.update_device_with_sas(device.id, first, device.key, device.secondary_key, "disabled")
    assert changed.status == "disabled"
    assert changed.etag != first
    stale = refusal(manager.update_device_with_sas, device.id, first, device.key, device.secondary_key, "enabled")
    assert stale.response.status_code == 412
    for match in ("*", '"*"'):
        body = {"deviceId": device.id, "status": "enabled"}
        assert call(hub, "PUT", f"/devices/{device.id}", headers={"If-Match": match}, json=body).status_code == 200


def test_rest_service_025_rest_service_026_rest_service_027_a_deleted_device_is_not_found(hub, make):
    device = make("deleted")
    manager = registry(hub)
    gone = call(hub, "DELETE", f"/devices/{device.id}", headers={"If-Match": "*"})
    assert (gone.status_code, gone.content) == (204, b"")
    for attempt in (manager.get_device, manager.delete_device):
        error = refusal(attempt, device.id)
        assert error.response.status_code == 404
        assert "DeviceNotFound" in error.response.text


def test_rest_service_028_a_device_made_again_has_another_generation(hub, make):
    device = make("again")
    manager = registry(hub)
    first = manager.get_device(device.id).generation_id
    manager.delete_device(device.id)
    assert manager.create_device_with_sas(device.id, "", "", "enabled").generation_id != first
    manager.delete_device(device.id)


def test_rest_service_030_each_character_that_an_id_may_have(hub):
    manager = registry(hub)
    device_id = "aZ09-:.+%_#*?!(),=@;$'"
    made = manager.create_device_with_sas(device_id, "", "", "enabled")
    assert made.device_id == device_id
    assert manager.get_device(device_id).etag == made.etag
    manager.delete_device(device_id)
    longest = "n" * 128
    assert manager.create_device_with_sas(longest, "", "", "enabled").device_id == longest
    manager.delete_device(longest)
    assert refusal(manager.create_device_with_sas, longest + "n", "", "", "enabled").response.status_code == 400


def test_rest_service_035_rest_service_036_devices_are_listed_up_to_the_number_asked_for(hub, make):
    made = {make("listed").id for _ in range(3)}
    manager = registry(hub)
    assert len(manager.get_devices(2)) == 2
    everything = manager.get_devices(1000)
    assert made <= {each.device_id for each in everything}
    assert all(each.authentication for each in everything)


def test_rest_service_048_bulk_creates_updates_and_deletes(hub):
    from azure.iot.hub.models import AuthenticationMechanism, ExportImportDevice, SymmetricKey

    def items(mode, count=100, **fields):
        return [ExportImportDevice(id=f"bulk-{n}", import_mode=mode, **fields) for n in range(count)]

    manager = registry(hub)
    key = base64.b64encode(b"k" * 32).decode()
    keys = AuthenticationMechanism(type="sas", symmetric_key=SymmetricKey(primary_key=key, secondary_key=key))
    made = manager.bulk_create_or_update_devices(items("create", authentication=keys, status="enabled"))
    assert made.is_successful
    assert made.errors == []
    assert manager.get_device("bulk-99").authentication.symmetric_key.primary_key == key
    again = call(hub, "POST", "/devices", json=[{"id": "bulk-0", "importMode": "create"}])
    assert again.status_code == 400
    assert again.headers["iothub-errorcode"] == "BulkRegistryOperationFailure"
    assert again.json()["isSuccessful"] is False
    assert again.json()["errors"][0]["deviceId"] == "bulk-0"
    gone = manager.bulk_create_or_update_devices(items("delete"))
    assert gone.is_successful
    assert refusal(manager.get_device, "bulk-0").response.status_code == 404


def test_rest_service_001_security_028_no_authorization_is_401(hub):
    answer = call(hub, "GET", "/devices", token=None)
    assert answer.status_code == 401
    assert error_code(answer)


@pytest.mark.parametrize("forged", ["key", "policy", "expired"])
def test_rest_service_002_rest_service_005_a_token_that_proves_nothing_is_401(hub, forged):
    key = hub.key("device" if forged == "key" else "iothubowner")
    policy = "nobody" if forged == "policy" else "iothubowner"
    token = tokens.token(hub.host, key, policy=policy, lifetime=-900 if forged == "expired" else 600)
    assert call(hub, "GET", "/devices", token=token).status_code == 401


@pytest.mark.parametrize("which", ["primaryKey", "secondaryKey"])
def test_rest_service_003_both_keys_of_a_policy_are_good(hub, which):
    assert isinstance(registry(hub, which=which).get_devices(1), list)


@pytest.mark.parametrize(
    ("policy", "read", "write"),
    [
        ("iothubowner", 200, 200), ("registryReadWrite", 200, 200), ("registryRead", 200, 401),
        ("service", 401, 401), ("device", 401, 401),
    ],
)  # fmt: skip
def test_rest_service_006_security_014_each_policy_may_do_what_its_rights_say(hub, device, policy, read, write):
    token = tokens.token(hub.host, hub.key(policy), policy=policy)
    assert call(hub, "GET", f"/devices/{device.id}", token=token).status_code == read
    body = {"deviceId": f"by-{policy}", "status": "enabled"}
    assert call(hub, "PUT", f"/devices/by-{policy}", token=token, json=body).status_code == write
    if write == 200:
        registry(hub).delete_device(f"by-{policy}")


def test_rest_service_008_a_device_does_not_read_another_one(hub, device, make):
    assert call(hub, "GET", f"/devices/{make().id}", token=device.token()).status_code == 401


@pytest.mark.parametrize("resource", ["{host}", "{host}%2f", "{host}%2F"])
def test_rest_service_004_a_resource_is_signed_as_it_is_written(hub, resource):
    token = tokens.token("", hub.key("iothubowner"), policy="iothubowner", encoded=resource.format(host=hub.host))
    assert call(hub, "GET", "/devices", token=token).status_code == 200


def test_rest_service_009_rest_service_010_rest_service_015_routes_are_found_in_each_spelling(hub, device):
    for path in ("/devices", "/devices/", "/DEVICES"):
        assert call(hub, "GET", path, params={"top": 3, "api-version": "1999-01-01"}).status_code == 200
    assert call(hub, "GET", f"/DEVICES/{device.id}").status_code == 200
    assert call(hub, "GET", f"/devices/{device.id.upper()}").status_code == 404


def test_rest_service_012_each_answer_says_that_it_is_json(hub, device):
    for path in ("/devices", f"/devices/{device.id}"):
        assert "application/json" in call(hub, "GET", path).headers["Content-Type"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff\xfe", b'{"deviceId":7}', b'{"deviceId":"other"}', b"[" * 100_000]
)
def test_a_body_that_is_no_identity_is_refused_in_the_form_that_sdks_parse(hub, body):
    answer = call(hub, "PUT", "/devices/malformed", data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert error_code(answer)


def test_security_047_the_service_sdk_does_not_talk_to_an_authority_it_does_not_know(hub, monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    manager = IoTHubRegistryManager.from_connection_string(hub.service())
    with pytest.raises(Exception, match="(?i)certificate"):
        manager.get_devices(1)


def put(hub, device_id: str, body: dict | None = None, **options) -> requests.Response:
    return call(hub, "PUT", f"/devices/{device_id}", json={"deviceId": device_id, **(body or {})}, **options)


def test_rest_service_007_a_service_policy_does_not_write_devices(hub):
    token = tokens.token(hub.host, hub.key("service"), policy="service")
    answer = put(hub, "not-allowed", token=token)
    assert answer.status_code == 401
    assert error_code(answer)


def test_rest_service_014_a_plus_sign_in_a_path_is_itself(hub):
    assert call(hub, "PUT", "/devices/a%2Bb", json={"deviceId": "a+b"}).status_code == 200
    assert call(hub, "GET", "/devices/a+b").json()["deviceId"] == "a+b"
    assert call(hub, "DELETE", "/devices/a+b", headers={"If-Match": "*"}).status_code == 204


def test_rest_service_024_each_write_changes_the_etag(hub, device):
    seen = {call(hub, "GET", f"/devices/{device.id}").json()["etag"]}
    for n in range(3):
        body = {"deviceId": device.id, "statusReason": f"write {n}"}
        answer = call(hub, "PUT", f"/devices/{device.id}", headers={"If-Match": "*"}, json=body)
        seen.add(answer.json()["etag"])
    assert len(seen) == 4


def test_rest_service_029_an_encoded_slash_is_no_part_of_an_id(hub):
    answer = call(hub, "PUT", "/devices/a%2Fb", json={"deviceId": "a/b"})
    assert answer.status_code == 400
    assert error_code(answer)


def test_rest_service_031_rest_service_041_messages_070_the_document_has_its_members_in_order(hub, device):
    document = call(hub, "GET", f"/devices/{device.id}").json()
    assert list(document["authentication"]) == ["symmetricKey", "x509Thumbprint", "type"]
    assert document["capabilities"] == {"iotEdge": False}
    assert document["parentScopes"] == []
    assert document["cloudToDeviceMessageCount"] == 0
    for name in ("connectionStateUpdatedTime", "statusUpdatedTime", "lastActivityTime"):
        assert document[name].startswith("0001-01-01T00:00:00")
    # The twin has another name for it.
    twin = call(hub, "GET", f"/twins/{device.id}").json()
    assert "statusUpdateTime" in twin.keys() - document.keys()
    assert "statusUpdatedTime" in document.keys() - twin.keys()


def test_rest_service_032_thumbprints_make_a_self_signed_device(hub):
    for length, status in ((40, 200), (64, 200), (39, 400)):
        thumbprint = "aB" * (length // 2) + "c" * (length % 2)
        pair = {"primaryThumbprint": thumbprint, "secondaryThumbprint": thumbprint}
        answer = put(hub, f"thumb-{length}", {"authentication": {"x509Thumbprint": pair}})
        assert answer.status_code == status
        if status == 200:
            made = answer.json()["authentication"]
            assert made["type"] == "selfSigned"
            assert made["x509Thumbprint"] == pair
            assert made["symmetricKey"] == {"primaryKey": None, "secondaryKey": None}
            call(hub, "DELETE", f"/devices/thumb-{length}", headers={"If-Match": "*"})


def test_rest_service_033_a_device_of_an_authority_has_no_proof_of_its_own(hub):
    made = put(hub, "by-authority", {"authentication": {"type": "certificateAuthority"}}).json()["authentication"]
    assert made["symmetricKey"] == {"primaryKey": None, "secondaryKey": None}
    assert made["x509Thumbprint"] == {"primaryThumbprint": None, "secondaryThumbprint": None}
    call(hub, "DELETE", "/devices/by-authority", headers={"If-Match": "*"})


def test_rest_service_034_status_changes_leave_their_time(hub, device):
    manager = registry(hub)
    etag = manager.get_device(device.id).etag
    off = manager.update_device_with_sas(device.id, etag, device.key, device.secondary_key, "disabled")
    assert off.status == "disabled"
    assert off.status_updated_time.year > 2000


@pytest.mark.parametrize("mode", ["Update", "update", "UPDATE"])
def test_rest_service_047_import_modes_in_any_letter_case(hub, device, mode):
    answer = call(hub, "POST", "/devices", json=[{"id": device.id, "importMode": mode, "status": "disabled"}])
    assert answer.status_code == 200
    assert answer.json() == {"isSuccessful": True, "errors": [], "warnings": []}
    assert registry(hub).get_device(device.id).status == "disabled"


def test_rest_service_049_rest_service_050_one_failed_item_does_not_undo_the_others(hub, device):
    items = [
        {"id": "good-1", "importMode": "create"}, {"id": device.id, "importMode": "create"},
        {"id": "good-2", "importMode": "create"},
    ]  # fmt: skip
    answer = call(hub, "POST", "/devices", json=items)
    assert answer.status_code == 400
    assert answer.headers["iothub-errorcode"] == answer.headers["IotHubErrorCode"] == "BulkRegistryOperationFailure"
    (error,) = answer.json()["errors"]
    assert (error["deviceId"], error["errorCode"]) == (device.id, "DeviceAlreadyExists")
    assert error["errorStatus"]
    for name in ("good-1", "good-2"):
        assert call(hub, "DELETE", f"/devices/{name}", headers={"If-Match": "*"}).status_code == 204


def test_rest_service_051_messages_069_too_many_items_or_one_twice_are_refused_whole(hub):
    many = call(hub, "POST", "/devices", json=[{"id": f"many-{n}", "importMode": "create"} for n in range(101)])
    assert many.status_code == 413
    assert error_code(many) == "TooManyDevices"
    twice = call(hub, "POST", "/devices", json=[{"id": "twice", "importMode": "create"}] * 2)
    assert twice.status_code == 400
    assert error_code(twice) == "DeviceDefinedMultipleTimes"
    assert call(hub, "GET", "/devices/twice").status_code == 404
    assert call(hub, "GET", "/devices/many-0").status_code == 404


def test_rest_service_102_messages_082_every_refusal_has_the_parts_that_sdks_parse(hub, device):
    refusals = [
        call(hub, "GET", "/devices/nobody"), call(hub, "GET", "/devices", token=None), put(hub, device.id),
        call(hub, "GET", "/devices", params={"top": "x", **VERSION}), call(hub, "GET", "/no/such/route"),
        call(hub, "PATCH", f"/devices/{device.id}"),
    ]  # fmt: skip
    for answer in refusals:
        assert answer.status_code >= 400
        assert answer.json()["Message"].startswith(f"ErrorCode:{error_code(answer)};")


def test_connection_state_follows_the_device(hub, device):
    def state() -> str:
        return registry(hub).get_device(device.id).connection_state

    assert state() == "Disconnected"
    with device.sign_in():
        eventually(lambda: state() == "Connected")
    eventually(lambda: state() == "Disconnected")


def test_what_is_known_of_connections_survives_a_restart(own_hub):
    own_hub.start()
    device = make_device(own_hub)
    never = make_device(own_hub)

    def document(which) -> dict:
        return registry(own_hub).get_device(which.id).as_dict()

    with device.sign_in():
        eventually(lambda: document(device)["connection_state"] == "Connected")
        connected = document(device)
        assert own_hub.stop() == 0
    own_hub.start()
    after = document(device)
    assert after["connection_state"] == "Disconnected"
    # The stop ended the connection, after it was made; the time of the last activity is not touched by the end.
    assert after["connection_state_updated_time"] >= connected["connection_state_updated_time"]
    assert after["last_activity_time"] >= connected["last_activity_time"] > "2000"
    assert registry(own_hub).get_twin(device.id).last_activity_time.year > 2000
    assert document(never)["last_activity_time"].startswith("0001-01-01")
