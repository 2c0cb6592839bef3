import Core

/// An object for each tenant: the same one for as long as anybody else keeps it.
///
/// Those that nobody else keeps are forgotten once as many have come as were kept. To refer to them weakly would make
/// their reference counts slower, of which a call has several.
struct TenantObjects<Object: AnyObject> {
  private var objects: [Tenant: Object] = [:]
  private var sweepCount = Self.sweepCountMin

  private static var sweepCountMin: Int { 64 }

  var count: Int { objects.count }

  /// - Parameter make: makes the object of a tenant that has none.
  mutating func object(of tenant: Tenant, _ make: () -> Object) -> Object {
    if let object = objects[tenant] { return object }
    if objects.count >= sweepCount { sweep() }
    let object = make()
    objects[tenant] = object
    return object
  }

  private mutating func sweep() {
    for tenant in Array(objects.keys) where isKnownUniquelyReferenced(&objects[tenant]) { objects[tenant] = nil }
    sweepCount = max(2 * objects.count, Self.sweepCountMin)
  }
}
