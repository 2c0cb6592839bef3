import Auth
import CommandSupport
import Core
import Foundation
import Logging
import RPC
import Service
import Settings

/// What the parts of a server are told, made from its settings.
extension SettingSources {
  func logger() throws -> Logger {
    let level = try value(ServerSettings.logLevel)
    LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
    var logger = Logger(label: "parley")
    logger.logLevel = level
    return logger
  }

  /// The folder of the server's own, as a whole path.
  func data() throws -> String? {
    try value(ServerSettings.data).map { URL(fileURLWithPath: $0).standardizedFileURL.path }
  }

  func connections() throws -> ConnectionBudget {
    let total = try value(ServerSettings.connections)
    let readers = try value(ServerSettings.readers)
    guard let budget = ConnectionBudget(total: total, readers: readers) else {
      throw CommandFailure(
        "connections \(total ?? 0): are too few for \(readers ?? 0) readers, with which a server needs at least \(ConnectionBudget.least(readers: readers ?? 0)); give more connections, or fewer readers"
      )
    }
    return budget
  }

  func server(data: String?) throws -> ParleyServer.Configuration {
    var addresses = try value(ServerSettings.listen)
    if addresses.isEmpty { addresses = try ServerSettings.standardAddresses(data: data) }
    var server = ParleyServer.Configuration(addresses: addresses, socketMode: try value(ServerSettings.socketMode))
    server.grpc.ageSecondsMax = try value(ServerSettings.grpcMaxAge).map(Int64.init)
    server.grpc.idleSecondsMax = try value(ServerSettings.grpcMaxIdle).map(Int64.init)
    server.grpc.keepaliveSeconds = Int64(try value(ServerSettings.grpcKeepalive))
    return server
  }

  /// The keys that tokens are verified with. Without any, a folder of the server's own gets a secret.
  func keys(data: String?) throws -> [TokenVerifier.Key] {
    var keys = try givenKeys()
    if keys.isEmpty {
      guard let data else {
        throw CommandFailure(
          "no key to verify tokens with: give --jwt-secret-file or --jwt-public-key-file, or --data for a folder with a secret (there is no way to run without)"
        )
      }
      let file = SecretFile(data: data)
      if try file.makeIfAbsent() {
        say("made a secret for tokens in \(file.path); mint one with: parley token --data \(data) --tenant NAME")
      }
      keys.append(.hs256(secret: try file.secret()))
    }
    return keys
  }

  /// Of files that were named.
  func givenKeys() throws -> [TokenVerifier.Key] {
    var keys: [TokenVerifier.Key] = []
    if let file = try value(ServerSettings.jwtSecretFile) {
      keys.append(.hs256(secret: try SecretFile(path: file).secret()))
    }
    for file in try value(ServerSettings.jwtPublicKeyFiles) {
      let pem = try ReadableFile(file, as: "--jwt-public-key-file \(file)").text()
      do {
        keys.append(try TokenVerifier.Key(pem: pem))
      } catch {
        throw CommandFailure("--jwt-public-key-file \(file) \(error)")
      }
    }
    return keys
  }
}
