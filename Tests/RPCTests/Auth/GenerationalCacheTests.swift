import TestSupport
import Testing

@testable import Auth
@testable import RPC

struct GenerationalCacheTests {
  @Test func holdsWhatWasPutIn() {
    var cache = GenerationalCache<String, Int>(countMax: 4)
    #expect(cache["a"] == nil)
    cache["a"] = 1
    #expect(cache["a"] == 1)
    cache["a"] = 2
    #expect(cache["a"] == 2)
    #expect(cache.count == 1)
  }

  @Test func forgetsWhatWasNotUsedForLongest() {
    var cache = GenerationalCache<Int, Int>(countMax: 4)
    cache[1] = 1
    cache[2] = 2
    cache[3] = 3
    // 1 and 2 are of the old generation now; 1 is used and so lives on.
    #expect(cache[1] == 1)
    cache[4] = 4
    #expect(cache[1] == 1)
    #expect(cache[2] == nil)
  }

  @Test func takenOutIsGone() {
    var cache = GenerationalCache<Int, Int>(countMax: 4)
    for key in 1...3 { cache[key] = key }
    for key in 1...3 { cache[key] = nil }
    #expect((1...3).allSatisfy { cache[$0] == nil })
  }

  /// Against a plain dictionary: never another value, never too many, and never without what was used
  /// within the last half of its size.
  @Test func agreesWithADictionary() {
    var chance = SeededGenerator()
    for _ in 0..<50 {
      let countMax = Int.random(in: 2...40, using: &chance)
      var cache = GenerationalCache<Int, Int>(countMax: countMax)
      var all: [Int: Int] = [:]
      var used: [Int] = []
      for step in 0..<1_000 {
        let key = Int.random(in: 0..<60, using: &chance)
        if Bool.random(using: &chance) {
          cache[key] = step
          all[key] = step
          used.append(key)
        } else {
          let recent = distinct(used.reversed(), countMax / 2)
          let found = cache[key]
          if found != nil { used.append(key) }
          #expect(found == nil || found == all[key], "seed \(chance.seed)")
          #expect(found != nil || !recent.contains(key), "seed \(chance.seed)")
        }
        #expect(cache.count <= countMax, "seed \(chance.seed)")
      }
    }
  }

  private func distinct(_ keys: some Sequence<Int>, _ count: Int) -> Set<Int> {
    var found: Set<Int> = []
    for key in keys {
      if found.count == count { break }
      found.insert(key)
    }
    return found
  }
}
