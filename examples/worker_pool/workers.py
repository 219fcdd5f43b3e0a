"""The Python side of the example: a worker, which takes jobs from a channel.

Any number of workers take from one channel; each job goes to one of them.
"""

import gzip
import hashlib

from erlang.channel import Channel


def work(jobs: Channel, name: str) -> int:
    """Works until Erlang closes the channel; returns how many jobs were done.

    A job is (number, packed), packed a memoryview of the very bytes in Erlang.
    """
    done = 0
    for number, packed in jobs:
        try:
            data = gzip.decompress(packed)
        except BaseException:
            # Also when it is cancelled: the job is not lost with its worker.
            jobs.put(("lost", name, number))
            raise
        jobs.put(("done", name, number, len(data), hashlib.sha256(data).hexdigest()))
        done += 1
    return done
