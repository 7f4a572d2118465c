// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import Testing

@Suite struct ConnectionStringTests {
    @Test(arguments: [
        (
            "HostName=h.example.com;SharedAccessKeyName=service;SharedAccessKey=abc=",
            ConnectionString(peer: .service(policy: "service"), hostName: "h.example.com", key: "abc=")
        ),
        (
            "HostName=h:8443;DeviceId=d;SharedAccessKey=k==",
            ConnectionString(peer: .device(id: "d"), hostName: "h:8443", key: "k==")
        ),
        (
            "HostName=h;DeviceId=d;ModuleId=m;SharedAccessKey=k;GatewayHostName=g",
            ConnectionString(
                peer: .module(deviceID: "d", moduleID: "m"),
                hostName: "h",
                key: "k",
                gatewayHostName: "g"
            )
        ),
        (
            "Endpoint=sb://h/;SharedAccessKeyName=p;SharedAccessKey=k=;EntityPath=e",
            ConnectionString(peer: .eventHub(policy: "p", name: "e"), hostName: "h", key: "k=")
        ),
        (
            "Endpoint=sb://h:5672/;SharedAccessKeyName=p;SharedAccessKey=k",
            ConnectionString(peer: .eventHub(policy: "p", name: nil), hostName: "h:5672", key: "k")
        ),
    ])
    func `connection strings are read and printed in the spelling that every parser accepts`(
        _ text: String,
        _ value: ConnectionString
    ) throws {
        #expect(try ConnectionString(parsing: text) == value)
        #expect(value.text == text)
    }

    @Test func `names of fields compare without case, and a last semicolon is allowed`() throws {
        let string = try ConnectionString(parsing: "hostname=h;DEVICEID=d;sharedaccesskey=k=;")
        #expect(string.text == "HostName=h;DeviceId=d;SharedAccessKey=k=")
    }

    @Test(arguments: [
        ("", ConnectionStringError.missing(field: "HostName")),
        ("HostName=h;DeviceId=d", .missing(field: "SharedAccessKey")),
        ("HostName=h;DeviceId=d;SharedAccessKey=", .missing(field: "SharedAccessKey")),
        ("HostName=h;SharedAccessKey=k", .missing(field: "SharedAccessKeyName")),
        ("HostName=h;hostname=i;DeviceId=d;SharedAccessKey=k", .repeated(field: "hostname")),
        ("HostName=h;DeviceId", .malformed(field: "without '='")),
        ("Endpoint=https://h/;SharedAccessKeyName=p;SharedAccessKey=k", .malformed(field: "Endpoint")),
        ("Endpoint=sb:///;SharedAccessKeyName=p;SharedAccessKey=k", .malformed(field: "Endpoint")),
    ])
    func `what is wrong with a connection string is named`(_ text: String, _ error: ConnectionStringError) {
        #expect(throws: error) { try ConnectionString(parsing: text) }
    }

    @Test func `a connection string describes itself without its key`() throws {
        let string = try ConnectionString(parsing: "HostName=h;DeviceId=d;SharedAccessKey=c2VjcmV0")
        #expect(!"\(string)".contains("c2VjcmV0"))
        #expect(!String(reflecting: string).contains("c2VjcmV0"))
    }
}
