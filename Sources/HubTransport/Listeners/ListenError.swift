// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Glibc
import NIOCore

/// A port that could not be listened to, said so that the reader knows what to do.
public struct ListenError: Error, CustomStringConvertible {
    /// Why it could not.
    public enum Reason: Equatable, Sendable {
        /// Another program listens there.
        case taken
        /// Ports under 1024 need a permission.
        case notPermitted
        /// The address is not one of this machine.
        case notOurAddress
        /// Something else, in the system's words.
        case other(String)
    }

    /// The listener's name.
    public let name: String
    /// The address asked for.
    public let address: String
    /// The port asked for.
    public let port: Int
    /// The setting that gives the port.
    public let portSetting: String
    /// Why it failed.
    public let reason: Reason

    init(_ settings: ListenerSettings, port: Int, _ error: any Error) {
        name = settings.name
        address = settings.address
        self.port = port
        portSetting = settings.portSetting
        switch (error as? IOError)?.errnoCode {
        case EADDRINUSE: reason = .taken
        case EACCES, EPERM: reason = .notPermitted
        case EADDRNOTAVAIL: reason = .notOurAddress
        default: reason = error is SocketAddressError ? .notOurAddress : .other("\(error)")
        }
    }

    /// One line: what failed and the ways out.
    public var description: String {
        let place = "\(name): port \(port) on \(address == "*" ? "all addresses" : address)"
        switch reason {
        case .taken:
            return "\(place) is taken by another program. Stop that program (`ss -ltnp 'sport = :\(port)'` names it), "
                + "or give another port with \(portSetting)."
        case .notPermitted:
            return "\(place) is not permitted to this user. Give a port above 1023 with \(portSetting), or permit it: "
                + "sudo sysctl net.ipv4.ip_unprivileged_port_start=\(port)"
        case .notOurAddress:
            return "\(place): this machine has no such address. Give one of its own, or * for all."
        case .other(let text):
            return "\(place) can't be listened to: \(text)"
        }
    }
}
