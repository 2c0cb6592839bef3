public import Logging
public import RPC

extension Dispatcher {
  /// With the interceptors of a Parley server.
  public convenience init(_ methods: [Method], verifier: TokenVerifier, logger: Logger) {
    self.init(
      methods, interceptors: [FailureLog(logger: logger), Authentication(verifier: verifier), Authorization()])
  }
}
