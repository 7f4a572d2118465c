// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// What puts each protocol's handlers into a new connection.
struct FrontInitializers: Sendable {
    typealias Initializer = @Sendable (any Channel) -> EventLoopFuture<Void>

    let mqtt: Initializer
    let amqp: Initializer
    let http: Initializer
}
