"""gRPC's interoperability cases that Debian's Ruby client does not know, and more of their kind.

    cases.py --list            their names
    cases.py HOST:PORT CASE    runs one

Messages of grpc.testing are written by hand, for they have few fields.
"""

import sys
import threading
import time

import grpc

SERVICE = "/grpc.testing.TestService/"


def varint(value):
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(encoded + bytes([value]))


def number(field, value):
    return varint(field << 3) + varint(value)


def message(field, value):
    return varint(field << 3 | 2) + varint(len(value)) + value


def payload(field, size):
    return message(field, message(2, bytes(size)))


def status(code, text):
    return message(7, number(1, code) + message(2, text.encode()))


def output_request(*parameters):
    """A StreamingOutputCallRequest; each parameter is a size, or a size and an interval in microseconds."""
    pairs = [p if isinstance(p, tuple) else (p, 0) for p in parameters]
    return b"".join(message(2, number(1, size) + number(2, interval)) for size, interval in pairs)


def response_of(size):
    return payload(1, size)


class Stub:
    def __init__(self, address, **options):
        # All cases of a run are of one process each, so nobody shares this channel.
        self.channel = grpc.insecure_channel(address, **options)
        for name in ("EmptyCall", "UnaryCall"):
            setattr(self, name, self.channel.unary_unary(SERVICE + name))
        self.StreamingOutputCall = self.channel.unary_stream(SERVICE + "StreamingOutputCall")
        self.StreamingInputCall = self.channel.stream_unary(SERVICE + "StreamingInputCall")
        self.FullDuplexCall = self.channel.stream_stream(SERVICE + "FullDuplexCall")
        self.HalfDuplexCall = self.channel.stream_stream(SERVICE + "HalfDuplexCall")


def error_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("the call did not fail")


def special_status_message(address):
    text = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
    error = error_of(lambda: Stub(address).UnaryCall(status(2, text)))
    assert error.code() == grpc.StatusCode.UNKNOWN and error.details() == text, error.details()


def every_status_code(address):
    stub = Stub(address)
    for code in grpc.StatusCode:
        if code == grpc.StatusCode.OK:
            continue
        error = error_of(lambda: stub.UnaryCall(status(code.value[0], code.name)))
        assert error.code() == code and error.details() == code.name, error
        error = error_of(lambda: list(stub.FullDuplexCall(iter([status(code.value[0], code.name)]))))
        assert error.code() == code and error.details() == code.name, error


def status_after_messages(address):
    """An error after messages comes in trailers of its own."""
    received = []

    def call():
        for response in Stub(address).FullDuplexCall(iter([output_request(10, 20), status(9, "enough")])):
            received.append(response)

    error = error_of(call)
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION and error.details() == "enough", error
    assert received == [response_of(10), response_of(20)]


def half_duplex(address):
    """Answers come when the last request is sent."""
    last_sent = []

    def requests():
        for size in (100, 200, 300):
            yield output_request(size)
            time.sleep(0.05)
        last_sent.append(time.monotonic())

    responses = []
    for response in Stub(address).HalfDuplexCall(requests()):
        assert last_sent, "an answer came before the last request"
        responses.append(response)
    assert responses == [response_of(size) for size in (100, 200, 300)]


def server_streaming_with_intervals(address):
    begun = time.monotonic()
    times = [
        time.monotonic() - begun
        for _ in Stub(address).StreamingOutputCall(output_request((1, 0), (1, 2_000_000), (1, 2_000_000)))
    ]
    assert len(times) == 3, times
    # Each comes when it is ready, not with the last.
    assert times[1] - times[0] > 0.5 and times[2] - times[1] > 0.5 and times[2] >= 3.9, times


def custom_metadata_values(address):
    """Repeated and binary values, on a unary call, on a stream and beside an error."""
    blobs = [bytes(range(256)), b"", b"\x00", b"ab", b"abc"]
    metadata = [("x-grpc-test-echo-initial", "one"), ("x-grpc-test-echo-initial", "two words")]
    metadata += [("x-grpc-test-echo-trailing-bin", blob) for blob in blobs]
    stub = Stub(address)

    def check(call):
        initial = [value for key, value in call.initial_metadata() if key == "x-grpc-test-echo-initial"]
        trailing = [value for key, value in call.trailing_metadata() if key == "x-grpc-test-echo-trailing-bin"]
        assert initial == ["one", "two words"], initial
        assert trailing == blobs, trailing

    _, call = stub.UnaryCall.with_call(number(2, 10), metadata=metadata)
    check(call)
    call = stub.FullDuplexCall(iter([output_request(10)]), metadata=metadata)
    assert list(call) == [response_of(10)]
    check(call)
    error = error_of(lambda: stub.UnaryCall(status(5, "not here"), metadata=metadata))
    trailing = [value for key, value in error.trailing_metadata() if key == "x-grpc-test-echo-trailing-bin"]
    assert trailing == blobs, trailing


def timeout_of_server_streaming(address):
    begun = time.monotonic()
    error = error_of(lambda: list(Stub(address).StreamingOutputCall(output_request((1, 20_000_000)), timeout=0.5)))
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
    assert time.monotonic() - begun < 15


def unary_of_every_size(address):
    """Around the sizes of frames, windows and their halves; the largest is the limit of 4 MiB."""
    stub = Stub(address, options=[("grpc.max_receive_message_length", 8 << 20)])
    limit = 4 << 20
    for size in (0, 1, 16_379, 16_380, 65_530, 65_536, 131_072, 262_139, 262_144, 1_000_000, limit - 40):
        assert stub.UnaryCall(number(2, size) + payload(3, size)) == response_of(size), size
    error = error_of(lambda: stub.UnaryCall(payload(3, limit + 1)))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and "MESSAGE_TOO_LARGE" in str(error.trailing_metadata())
    error = error_of(lambda: stub.UnaryCall(number(2, limit + 1)))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
    assert stub.EmptyCall(b"") == b""


def gzip_both_ways(address):
    for algorithm in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        stub = Stub(address, compression=algorithm)
        expect_compressed = message(8, number(1, 1))
        request = number(2, 100_000) + payload(3, 100_000) + expect_compressed
        assert stub.UnaryCall(request) == response_of(100_000)
        # Not to be compressed, though asked for so in general.
        assert stub.UnaryCall(request + message(6, number(1, 0))) == response_of(100_000)
        assert list(stub.FullDuplexCall(iter([output_request(100_000, 1, 0)] * 3))) == [
            response_of(100_000), response_of(1), response_of(0)] * 3


def large_client_streaming(address):
    size, count = 300_000, 200
    response = Stub(address).StreamingInputCall(payload(1, size) for _ in range(count))
    assert response == number(1, size * count), response


def slow_reader(address):
    """32 MiB to a peer that reads slowly at first: nothing is lost, and it waits for the windows."""
    sizes = [256 * 1024] * 128
    received = 0
    for number_, response in enumerate(Stub(address).StreamingOutputCall(output_request(*sizes))):
        if number_ < 10:
            time.sleep(0.05)
        assert response == response_of(256 * 1024)
        received += 1
    assert received == len(sizes)


def many_at_once(address):
    """Streams and unary calls of many threads on one connection, each answer its own call's."""
    stub = Stub(address)
    failures = []

    def worker(base):
        try:
            for step in range(10):
                size = base * 100 + step
                assert stub.UnaryCall(number(2, size)) == response_of(size)
                responses = list(stub.FullDuplexCall(iter([output_request(size, size + 1), output_request(size + 2)])))
                assert responses == [response_of(size), response_of(size + 1), response_of(size + 2)]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=worker, args=(base,)) for base in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]


def early_end(address):
    """The server ends a stream whose client still sends: the status arrives, and the connection lives on."""
    stub = Stub(address)

    def requests():
        yield status(10, "stop")
        for _ in range(1000):
            yield payload(3, 50_000)

    for _ in range(50):
        error = error_of(lambda: list(stub.FullDuplexCall(requests())))
        assert error.code() == grpc.StatusCode.ABORTED and error.details() == "stop", error
    assert stub.EmptyCall(b"") == b""


def many_refused_at_once(address):
    """Many calls refused at their headers, whose messages are still on their way: each gets its status."""
    stub = Stub(address)
    absent = stub.channel.unary_unary(SERVICE + "Absent")
    futures = [absent.future(bytes(100_000)) for _ in range(300)]
    codes = {future.exception().code() for future in futures}
    assert codes == {grpc.StatusCode.UNIMPLEMENTED}, (codes, {future.exception().details() for future in futures})
    assert stub.EmptyCall(b"") == b""


def many_cancelled(address):
    """Cancelled streams leave the connection as it was."""
    stub = Stub(address)
    for _ in range(300):
        call = stub.FullDuplexCall(iter([output_request((1, 0), (1, 10_000_000))]))
        assert next(call) == response_of(1)
        call.cancel()
    assert stub.EmptyCall(b"") == b""


CASES = [
    special_status_message, every_status_code, status_after_messages, half_duplex, server_streaming_with_intervals,
    custom_metadata_values, timeout_of_server_streaming, unary_of_every_size, gzip_both_ways, large_client_streaming,
    slow_reader, many_at_once, early_end, many_refused_at_once, many_cancelled,
]  # fmt: skip

if __name__ == "__main__":
    if sys.argv[1] == "--list":
        print(*(case.__name__ for case in CASES), sep="\n")
    else:
        address, name = sys.argv[1:]
        {case.__name__: case for case in CASES}[name](address)
