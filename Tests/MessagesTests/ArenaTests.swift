import Testing

@testable import Messages

@Suite struct ArenaTests {
  @Test func whatItHandsOutIsAlignedAndApart() throws {
    let arena = Arena()
    var end: [UnsafeMutableRawPointer: Int] = [:]
    for size in [1, 15, 16, 17, 4000, 5000, 1, 40_000, 3, 100_000, 8] {
      let memory = try #require(arena.allocate(size))
      #expect(Int(bitPattern: memory) % 16 == 0)
      for (other, count) in end { #expect(memory + size <= other || other + count <= memory) }
      end[memory] = size
      memory.initializeMemory(as: UInt8.self, repeating: 0xff, count: size)
    }
  }

  @Test func itHandsOutNoMoreThanItMay() {
    let arena = Arena(bytesMax: 100)
    #expect(arena.allocate(101) == nil)
    #expect(arena.allocate(60) != nil)
    #expect(arena.allocate(60) == nil)
    #expect(arena.allocate(32) != nil)
    #expect(arena.allocate(16) == nil)
  }

  /// The smallest things count too: their padding is memory like any other.
  @Test func smallThingsUseItUp() {
    let arena = Arena(bytesMax: 1600)
    #expect((0..<1000).count { _ in arena.allocate(1) != nil } == 100)
  }
}
