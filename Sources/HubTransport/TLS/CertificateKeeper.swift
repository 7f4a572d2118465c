// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import FoundationEssentials
public import Logging
public import ServiceLifecycle

/// Renews the local server certificate before it ends, and takes up certificate files that were changed, without dropping a
/// connection.
public final class CertificateKeeper: Service {
    private let identity: TLSIdentity
    private let local: LocalCertificates?
    private let interval: Duration
    private let logger: Logger

    /// A keeper that renews `local`, where there is one, and looks at the files of `identity` every `interval`.
    public init(identity: TLSIdentity, local: LocalCertificates?, interval: Duration, logger: Logger) {
        self.identity = identity
        self.local = local
        self.interval = interval
        self.logger = logger
    }

    /// Looks at the files again and again until shutdown.
    public func run() async throws {
        await cancelWhenGracefulShutdown { [self] in
            while !Task.isCancelled {
                do {
                    try await Task.sleep(for: interval)
                } catch {
                    return
                }
                check(now: Date())
            }
        }
    }

    /// Renews and reloads what is due.
    ///
    /// A file that is wrong is reported, and the old certificate stays in use.
    public func check(now: Date) {
        do {
            try local?.ensure(now: now, logger: logger)
            if try identity.reload() {
                logger.info("certificate files taken up: new connections see the new certificate")
            }
        } catch {
            logger.error("certificate files can't be used, the old certificate stays", metadata: ["reason": "\(error)"])
        }
    }
}
