/// A cache of at most `countMax` entries that forgets the half it has not used for longest.
///
/// Two generations: what is found in the old one moves to the young, and when the young is full the
/// old one is dropped.
struct GenerationalCache<Key: Hashable, Value> {
  private let generationMax: Int
  private var young: [Key: Value] = [:]
  private var old: [Key: Value] = [:]

  init(countMax: Int) {
    generationMax = countMax / 2
  }

  var count: Int { young.count + old.count }

  subscript(key: Key) -> Value? {
    mutating get {
      if let value = young[key] { return value }
      guard let value = old.removeValue(forKey: key) else { return nil }
      self[key] = value
      return value
    }
    set {
      guard let newValue else {
        young[key] = nil
        old[key] = nil
        return
      }
      if young.count >= generationMax, young[key] == nil {
        old = young
        young.removeAll(keepingCapacity: true)
      }
      young[key] = newValue
    }
  }
}
