"""Question: what does a put of a large value cost, beside Ray's object store? And what does it cost to
make the value and to put it: in place, or in an array that is put then?
Unit: milliseconds for 100 MB; medians of rounds, the least and the most in brackets.

Both take turns in every round: our example `puts`, which is told by a pipe what to do, and ray.put of
a numpy array as long. The pages of both are warm: some rounds go by before any counts, in which each
store has been written as far as it will be. What is put is dropped before the next put, as a set
drops what it replaces.

    pip install ray numpy; cargo build --release -p morecore-store --example puts
    python3 bench/puts.py target/release/examples/puts [BYTES]
"""

import statistics
import subprocess
import sys
import time

import numpy
import ray

WARM_ROUNDS = 12
ROUNDS = 25
STORE_BYTES = 1 << 30


def fill_and_put(array):
    array.fill(7)
    return ray.put(array)


def main():
    program = sys.argv[1]
    size = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000_000
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    ours = subprocess.Popen([program, str(size)], **pipes)
    store = {"object_store_memory": STORE_BYTES, "include_dashboard": False}
    ray.init(num_cpus=1, log_to_driver=False, **store)
    value, copy = numpy.full(size, 7, numpy.uint8), numpy.ones(size, numpy.uint8)

    def ask(what):
        ours.stdin.write(what + "\n")
        return int(ours.stdout.readline()) / 1e6

    def timed(call):
        begin = time.perf_counter_ns()
        result = call()
        return (time.perf_counter_ns() - begin) / 1e6, result

    times = {}
    for turn in range(WARM_ROUNDS + ROUNDS):
        took = {"numpy copy": timed(lambda: numpy.copyto(copy, value))[0]}
        took["numpy fill"] = timed(lambda: copy.fill(7))[0]
        for what in ("set", "seal", "fill", "make", "get", "lease"):
            took["morecore " + what] = ask(what)
        took["ray.put"], put = timed(lambda: ray.put(value))
        took["ray.get"], got = timed(lambda: ray.get(put))
        assert got[0] == 7 and len(got) == size
        del got, put
        took["fill, ray.put"], put = timed(lambda: fill_and_put(copy))
        del put
        if turn >= WARM_ROUNDS:
            for name, ms in took.items():
                times.setdefault(name, []).append(ms)
    for name, ms in times.items():
        print(f"{name:16} {statistics.median(ms):9.4f} ms ({min(ms):.4f} to {max(ms):.4f})")
    for theirs, own in [("ray.put", "morecore set"), ("fill, ray.put", "morecore fill")]:
        ratios = [put / ours for put, ours in zip(times[theirs], times[own])]
        around = f"({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{theirs} by {own}, round by round: {statistics.median(ratios):.2f} {around}")
    ours.stdin.close()
    ours.wait()
    ray.shutdown()


main()
