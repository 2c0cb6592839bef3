import Foundation

/// Bounds how many tests work on a database at once, so that all tests may start together and none waits long for the
/// machine once it has begun.
actor Permits {
  static let databases = Permits(max(4, 2 * ProcessInfo.processInfo.activeProcessorCount))

  /// A test that has a database may make another.
  @TaskLocal private static var isHeld = false

  private var free: Int
  private var waiting: [CheckedContinuation<Void, Never>] = []

  init(_ count: Int) {
    free = count
  }

  nonisolated func with<R>(_ body: () async throws -> R) async throws -> R {
    if Self.isHeld { return try await body() }
    await take()
    do {
      let result = try await Self.$isHeld.withValue(true, operation: body)
      await giveBack()
      return result
    } catch {
      await giveBack()
      throw error
    }
  }

  private func take() async {
    if free > 0 {
      free -= 1
    } else {
      await withCheckedContinuation { waiting.append($0) }
    }
  }

  private func giveBack() {
    if waiting.isEmpty {
      free += 1
    } else {
      waiting.removeFirst().resume()
    }
  }
}
