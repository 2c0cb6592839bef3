"""What gRPC clients do to a channel that others share."""

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from parley.v1 import interactions_pb2 as pb


def list_once(tenant, timeout=30):
    return tenant.stub.ListInteractions(pb.ListInteractionsRequest(), metadata=tenant.metadata, timeout=timeout)


@pytest.mark.parametrize("authority", ["%2Frun%2Fp.sock", "/run/p.sock", "localhost", "parley.internal:7310"])
@pytest.mark.parametrize("address", ["PARLEY_UNIX_ADDRESS", "PARLEY_ADDRESS"])
def test_any_authority_is_served(tenants, address, authority):
    tenant = tenants(os.environ[address], [("grpc.default_authority", authority)])
    assert list_once(tenant).next_page_token == ""


def test_callers_that_give_up_at_once_do_not_fail_others_of_the_channel(tenant):
    seed = random.randrange(2**32)
    chance = random.Random(seed)

    # Below the 2,000 in half a minute that PROTOCOL.md allows a connection.
    def give_up():
        for _ in range(300):
            call = tenant.stub.ListInteractions.future(
                pb.ListInteractionsRequest(), metadata=tenant.metadata, timeout=30
            )
            time.sleep(chance.random() * 0.002)
            call.cancel()

    quitters = [threading.Thread(target=give_up) for _ in range(4)]
    for quitter in quitters:
        quitter.start()
    failures = []

    def steady(_):
        try:
            list_once(tenant)
        except grpc.RpcError as error:
            failures.append((error.code(), error.details()))

    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(steady, range(400)))
    finally:
        for quitter in quitters:
            quitter.join()
    assert failures == [], f"seed {seed}"
