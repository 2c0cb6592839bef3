import CMessages
import Glibc

/// Memory for the C messages of one call: bump-allocated, given back all at once.
///
/// It owns every byte it hands out until it is gone itself, and hands out no more than `bytesMax`: a
/// small payload of a million empty elements must not become a gigabyte of structs.
final class Arena {
  private var spare: UnsafeMutableRawPointer?
  private var chunks: [UnsafeMutableRawPointer] = []
  private var next: UnsafeMutableRawPointer?
  private var room = 0
  private var bytesLeft: Int

  init(bytesMax: Int = .max) {
    bytesLeft = bytesMax
  }

  deinit {
    if let spare { SpareChunk.giveBack(spare) }
    for chunk in chunks { free(chunk) }
  }

  /// nil past `bytesMax`.
  func allocate(_ count: Int) -> UnsafeMutableRawPointer? {
    let count = (count + 15) & ~15
    guard count <= bytesLeft else { return nil }
    bytesLeft -= count
    if count > room {
      if spare == nil, count <= SpareChunk.bytes {
        spare = SpareChunk.take()
        (next, room) = (spare, SpareChunk.bytes)
      } else {
        let size = max(count, 32_768)
        chunks.append(malloc(size))
        (next, room) = (chunks.last, size)
      }
    }
    defer {
      next! += count
      room -= count
    }
    return next
  }

  /// An empty message, made so by its generated `init`.
  func make<M>(_ initialize: (UnsafeMutablePointer<M>?) -> Void) -> UnsafeMutablePointer<M> {
    let message = allocate(MemoryLayout<M>.size)!.bindMemory(to: M.self, capacity: 1)
    initialize(message)
    return message
  }

  func make<M>(_ kind: MessageKind<M>) -> UnsafeMutablePointer<M> {
    make(kind.initialize)
  }

  /// A copy of the text. Empty text is absent on the wire.
  func text(_ text: String) -> ProtobufCBinaryData {
    var text = text
    return text.withUTF8 { bytes(UnsafeRawBufferPointer($0)) }
  }

  func bytes(_ source: UnsafeRawBufferPointer) -> ProtobufCBinaryData {
    guard let base = source.baseAddress, source.count > 0 else { return ProtobufCBinaryData() }
    let copy = allocate(source.count)!
    copy.copyMemory(from: base, byteCount: source.count)
    return ProtobufCBinaryData(len: source.count, data: copy.assumingMemoryBound(to: UInt8.self))
  }

  /// A C array with the elements made of `values`.
  func array<Value, Element>(
    _ values: some Collection<Value>, _ element: (Value) -> Element
  ) -> (count: Int, elements: UnsafeMutablePointer<Element>?) {
    guard !values.isEmpty else { return (0, nil) }
    let array = allocate(values.count * MemoryLayout<Element>.stride)!
      .bindMemory(to: Element.self, capacity: values.count)
    for (index, value) in values.enumerated() { (array + index).initialize(to: element(value)) }
    return (values.count, array)
  }

  /// The bytes of a message made here, which lives until then for this is a call on its owner; after
  /// `prefixBytes` that `prefix` fills in, given the message's size.
  func encode<M>(
    _ kind: MessageKind<M>, _ message: UnsafePointer<M>, prefixBytes: Int = 0,
    prefix: (UnsafeMutableRawBufferPointer, _ size: Int) -> Void = { _, _ in }
  ) -> [UInt8] {
    withExtendedLifetime(self) { kind.encode(message, prefixBytes: prefixBytes, prefix: prefix) }
  }

  /// Calls `body` with an allocator that takes from this arena, for protobuf-c to unpack with.
  func withAllocator<R>(_ body: (UnsafeMutablePointer<ProtobufCAllocator>) -> R) -> R {
    var allocator = ProtobufCAllocator(
      // Called for every string of a message: to retain the arena each time would cost as much as the rest.
      alloc: { arena, count in
        Unmanaged<Arena>.fromOpaque(arena!)._withUnsafeGuaranteedRef { $0.allocate(count) }
      },
      free: { _, _ in },
      allocator_data: Unmanaged.passUnretained(self).toOpaque())
    return withExtendedLifetime(self) { body(&allocator) }
  }
}

/// Memory that each thread keeps from one call to the next, for malloc is slow at this size.
private enum SpareChunk {
  static let bytes = 8192

  private static let key: pthread_key_t = {
    var key = pthread_key_t()
    precondition(pthread_key_create(&key) { free($0) } == 0, "no keys are left for what a thread keeps")
    return key
  }()

  static func take() -> UnsafeMutableRawPointer {
    guard let spare = pthread_getspecific(key) else { return malloc(bytes) }
    pthread_setspecific(key, nil)
    return spare
  }

  static func giveBack(_ chunk: UnsafeMutableRawPointer) {
    if pthread_getspecific(key) == nil { pthread_setspecific(key, chunk) } else { free(chunk) }
  }
}
