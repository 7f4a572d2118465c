// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// What puts each protocol's handlers into a new connection; nil where the program has none.
struct FrontInitializers: Sendable {
    typealias Initializer = @Sendable (any Channel) -> EventLoopFuture<Void>

    var mqtt: Initializer?
    var amqp: Initializer?
    var http: Initializer?
}
