"""What deploy/bench measures, which figures have a bar, and how they are printed."""
import statistics

# How many are idle while the server's memory is measured.
CONNECTIONS = 1024
CPU = 'server and PostgreSQL CPU us a call'
IDLE = f'server RSS MiB, {CONNECTIONS} idle connections'
SMALL = ('--connections', '4', '--in-flight', '16')
ONE = ('--connections', '1', '--in-flight', '1')
# Figure: the flags that measure it, and which field of the report it is.
RATE, CALLS, P50, P99 = 'records_per_second', 'calls_per_second', 'p50', 'p99'
PAGES = ('--protocol', 'grpc', '--within', '30d', *SMALL)
FIGURES = {
    'record ttrpc 16x64, records/s': (['record'], RATE),
    'record ttrpc batches of 100, records/s': (['record', '--batch', '100', '--in-flight', '4'], RATE),
    'record grpc 16x64, records/s': (['record', '--protocol', 'grpc'], RATE),
    'record grpc 4x16, records/s': (['record', '--protocol', 'grpc', *SMALL], RATE),
    'record ttrpc 1x1, p50 us': (['record', *ONE], P50),
    'record grpc 1x1, p50 us': (['record', '--protocol', 'grpc', *ONE], P50),
    'get ttrpc 4x16, calls/s': (['get', *SMALL], RATE),
    'get grpc 4x16, calls/s': (['get', '--protocol', 'grpc', *SMALL], RATE),
    'get grpc 1x1, p50 us': (['get', '--protocol', 'grpc', *ONE], P50),
    'list grpc 4x16, calls/s': (['list', *PAGES], CALLS),
    'list grpc 4x16 of a model with texts, calls/s': (['list', *PAGES, '--filter', 'model=small-1', '--texts'], CALLS),
    'stats ttrpc 1x1, p50 us': (['stats', *ONE], P50),
    **{
        f'list {filter} 1x1, p50 us': (['list', *ONE, '--filter', filter], P50)
        for filter in (
            'none', 'model=small-1', 'model=rare-1', 'type=voice', 'type=fax', 'handoff=true',
            'reason=legal request', 'intent=bereavement_fare', 'max-confidence=0.02', 'conversation',
        )
    },
}
# The same of the Go peer: flags of its generator, which field, and that field's unit in the figure's.
PEER_FIGURES = {
    'Go record 16x64, records/s': (dict(op='record', conns=16, outstanding=64), 'per_s', 1),
    'Go record 1x1, p50 us': (dict(op='record', conns=1, outstanding=1), 'p50_ms', 1000),
    # `parley bench get` asks for 20,000 interactions too.
    'Go get 4x16, calls/s': (dict(op='get', conns=4, outstanding=16, nids=20_000), 'per_s', 1),
    'Go get 1x1, p50 us': (dict(op='get', conns=1, outstanding=1, nids=20_000), 'p50_ms', 1000),
    # No index of the peer's is in this order: it sorts the tenant's rows for each page. What takes it a second and more
    # is measured by a number of calls: few seconds may see none end.
    'Go list 4x16, calls/s': (dict(op='listall', conns=4, outstanding=16, max=64, secs=600, warm=0), 'per_s', 1),
    # Its pages have texts, and this one an index.
    'Go list 4x16 of a model, calls/s': (dict(op='list', conns=4, outstanding=16), 'per_s', 1),
    'Go stats 1x1, p50 us': (dict(op='stats', conns=1, outstanding=1, max=5, secs=600, warm=0), 'p50_ms', 1000),
}
COPY, INSERT16 = 'limits copy_rows_per_second', 'limits insert16_rows_per_second'
# Figure, what it is divided by if by anything, and the bar: a least or a greatest value.
BARS = [
    ('record ttrpc 16x64, records/s', COPY, '>=', 1.0),
    ('record ttrpc batches of 100, records/s', COPY, '>=', 1.3),
    ('record grpc 16x64, records/s', COPY, '>=', 0.5),
    ('record ttrpc 16x64, records/s', INSERT16, '>=', 3),
    ('record at a quarter, p50 us', 'limits paced_insert_p50_us', '<=', 2),
    ('record at a quarter, p99 us', 'limits paced_insert_p99_us', '<=', 4),
    ('record grpc 16x64, records/s', 'Go record 16x64, records/s', '>=', 1.7),
    ('record grpc 1x1, p50 us', 'Go record 1x1, p50 us', '<=', 1),
    ('get grpc 4x16, calls/s', 'Go get 4x16, calls/s', '>=', 1.2),
    ('get ttrpc 4x16, calls/s', 'Go get 4x16, calls/s', '>=', 2),
    ('get grpc 1x1, p50 us', 'Go get 1x1, p50 us', '<=', 1),
    ('list grpc 4x16, calls/s', 'Go list 4x16, calls/s', '>=', 1.5),
    ('list grpc 4x16 of a model with texts, calls/s', 'Go list 4x16 of a model, calls/s', '>=', 1.5),
    ('Go stats 1x1, p50 us', 'stats ttrpc 1x1, p50 us', '>=', 200),
    (IDLE, None, '<=', 150),
    ('server RSS MiB after recording', None, '<=', 400),
    ('stats of 10 x ROWS, p50 us', 'stats of ROWS, p50 us', '<=', 1.5),
    ('soak: server RSS MiB at the end', 'soak: server RSS MiB after a fifth', '<=', 1.1),
    ('soak: failures', None, '<=', 0),
    *((f'fairness: get p99 while another floods by {method} / alone', None, '<=', 3)
      for method in ('get', 'list', 'stats', 'batches', 'record')),
    ('fairness: records/s while another repeats a taken id / without', None, '>=', 0.9),
]
# Of a figure of this build over the same of the one before.
LEAST_THROUGHPUT, MOST_CPU = 0.95, 1.05


def spread(values):
    digits = 0 if statistics.median(values) >= 100 else 2
    return f'{statistics.median(values):12.{digits}f}  ({min(values):.{digits}f} - {max(values):.{digits}f})'


def show(figures):
    """Every figure, each with its values, and what has a bar."""
    for name, values in figures.items():
        print(f'{name:72} {spread(values)}')
    print()
    for over, under, sign, bar in BARS:
        if over not in figures or under not in (None, *figures):
            continue
        values = figures[over]
        if under:
            values = [value / unit if unit else float('inf') for value, unit in zip(values, figures[under])]
        median = statistics.median(values)
        verdict = 'met' if (median >= bar if sign == '>=' else median <= bar) else 'NOT met'
        print(f'{over}{f" / {under}" if under else ""}\n    {spread(values)}   bar {sign} {bar}: {verdict}')


def compare(new, old):
    """Each figure of this build over the same of the one before, turn by turn."""
    print('\nthis build over the one before, in the same turns')
    for name in new:
        if name not in old or not name.endswith(('/s', CPU, ' us')):
            continue
        ratios = [value / unit if unit else float('inf') for value, unit in zip(new[name], old[name])]
        median = statistics.median(ratios)
        verdict = ''
        if name.endswith('/s'):
            verdict = f'>= {LEAST_THROUGHPUT}: {"met" if median >= LEAST_THROUGHPUT else "NOT met"}'
        elif name.endswith(CPU):
            verdict = f'<= {MOST_CPU}: {"met" if median <= MOST_CPU else "NOT met"}'
        print(f'{name:72} {median:6.3f}  ({min(ratios):.3f} - {max(ratios):.3f})  {verdict}')
