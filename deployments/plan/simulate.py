"""What saturates first when families are many: a discrete-event simulation of a run on a cluster.

    pip install simpy
    python -m deployments.plan.simulate                     the table in README.md beside this file
    python -m deployments.plan.simulate --nodes 40 --families 500 --judge-requests 256

Families are the published twelve, over and over. Each writes its shards (download, extrapolate, upload),
answers AlpacaEval with both arms on its GPUs, has the answers judged, and leaves its records in Prefect's
database. What they share are GPUs, the Hub's bandwidth, S3's, the judge's requests in flight and
Prefect's database. Each is a queue; the busiest is what to widen next.

It leaves out failures, retries and warm caches, and all families begin at once: it ranks the
bottlenecks and does not predict hours. `Rates` gives the source of each figure.
"""

from argparse import ArgumentParser
from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from itertools import cycle, islice
from math import ceil
from typing import Any

import simpy

from tasks.core.families import Family, find_family, names

__all__ = ["SCENARIOS", "Cluster", "Rates", "Result", "simulate", "table"]

Steps = Generator[simpy.Event, Any, None]

BYTES_PER_PARAMETER = 2  # bf16
SHARD_GB = 5.0  # as checkpoints on the Hub are cut
INSTRUCTIONS, ARMS = 805, 2
JUDGED_AT_ONCE = 80  # judgments that are simulated as one wait
RESOURCES = ("GPUs", "Hub", "S3", "judge", "Prefect")


@dataclass(frozen=True)
class Rates:
    """What a stage takes. Measured figures name their measurement; the others are assumptions to replace.

    extrapolate_gb_s  output of a worker with one GPU. Assumed: 2.2 GB in 1.37 s is streaming without
                      arithmetic on two cores and a virtual disk, warm
    node_gb_s         network of a node. Assumed: 25 Gbit/s
    tokens_s          tokens of answers, of a 7B model on one GPU with many requests at once. Assumed;
                      other sizes in inverse proportion
    answer_tokens     of a mean answer. Assumed
    start_s           an engine's start once its model is on the machine. Assumed: vLLM's imports
                      alone measured 6 to 27 s
    judge_s           one judgment, from request to answer. Assumed
    records_s         task runs that one server records in a second. Measured by `make drills`: 420 in
                      36.1 s on PostgreSQL, two cores, flow and server on the same machine
    records           task runs of a family beside the four of each shard. Measured by `make drills`:
                      341 of fourteen families with 50 shards
    """

    extrapolate_gb_s: float = 1.0
    node_gb_s: float = 3.0
    tokens_s: float = 5000.0
    answer_tokens: float = 500.0
    start_s: float = 60.0
    judge_s: float = 2.0
    records_s: float = 420 / 36.1
    records: int = round((341 - 4 * 50) / 14)


@dataclass(frozen=True)
class Cluster:
    """A cluster, and what all of its machines share.

    hub_gb_s        from the Hub, or from a mirror of it
    s3_gb_s         from and to S3
    judge_requests  in flight at once: the limit expo-judge-requests, or the judge's own quota
    servers         Prefect's API replicas and services, if the database carries them
    """

    name: str
    nodes: int
    families: int
    gpus_per_node: int = 8
    hub_gb_s: float = 1.0
    s3_gb_s: float = 2.0
    judge_requests: int = 64
    servers: int = 1


RACK = Cluster("one rack", nodes=8, families=100, hub_gb_s=3, s3_gb_s=10)
HUNDRED = replace(RACK, name="a hundred nodes", nodes=100, families=2000)
JUDGE = replace(HUNDRED, name="+ judge 64 → 1024", judge_requests=1024)
MIRROR = replace(JUDGE, name="+ Hub mirrored at 40 GB/s", hub_gb_s=40)
S3 = replace(MIRROR, name="+ S3 10 → 100 GB/s", s3_gb_s=100)
SERVERS = replace(S3, name="+ four Prefect servers", servers=4)
SCENARIOS = (Cluster("one machine", nodes=1, families=12), RACK, HUNDRED, JUDGE, MIRROR, S3, SERVERS)


@dataclass(frozen=True)
class Result:
    """Hours until the last verdict, and the share of them (0 to 1) that each resource was busy."""

    hours: float
    busy: dict[str, float]

    @property
    def busiest(self) -> str:
        """The resource that saturates first."""
        return max(self.busy, key=lambda name: self.busy[name])


def simulate(cluster: Cluster, rates: Rates = Rates()) -> Result:
    """Runs a cluster's families to their verdicts, the largest first; the same every time."""
    shop = _Shop(cluster, rates)
    entries = islice(cycle(find_family(name) for name in names("published")), cluster.families)
    for entry in sorted(entries, key=lambda family: -_gigabytes(family)):
        shop.env.process(shop.family(entry))
    shop.env.run()
    seconds = shop.env.now
    return Result(seconds / 3600, {name: shop.used[name] / shop.size[name] / seconds for name in RESOURCES})


def table(results: Iterable[tuple[Cluster, Result]]) -> str:
    """As Markdown; percentages are how long of the whole run a resource was busy."""
    head = ["cluster", "GPUs", "families", "hours", *(f"{name} busy" for name in RESOURCES), "busiest"]
    rows = [head, ["---"] * len(head)]
    for cluster, result in results:
        size = [cluster.name, str(cluster.nodes * cluster.gpus_per_node), str(cluster.families)]
        busy = [f"{100 * result.busy[name]:.0f}%" for name in RESOURCES]
        rows.append([*size, f"{result.hours:.1f}", *busy, result.busiest])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


class _Shop:
    """The shared resources, and the way of a family through them.

    size  slots of each resource: GPUs, streams at a node's full speed, requests, servers
    used  slot-seconds so far
    """

    def __init__(self, cluster: Cluster, rates: Rates) -> None:
        self.env, self.rates = simpy.Environment(), rates
        streams = {"Hub": cluster.hub_gb_s, "S3": cluster.s3_gb_s}
        self.size = {
            "GPUs": cluster.nodes * cluster.gpus_per_node,
            "judge": cluster.judge_requests,
            "Prefect": cluster.servers,
            **{
                name: min(cluster.nodes, max(1, int(rate / rates.node_gb_s)))
                for name, rate in streams.items()
            },
        }
        self.gb_s = {name: min(rates.node_gb_s, rate / self.size[name]) for name, rate in streams.items()}
        self.free = {name: simpy.Container(self.env, size, init=size) for name, size in self.size.items()}
        self.used = dict.fromkeys(self.size, 0.0)

    def family(self, entry: Family) -> Steps:
        """From two checkpoints to a verdict."""
        shards = max(1, ceil(_gigabytes(entry) / SHARD_GB))
        size = _gigabytes(entry) / shards
        yield self._all(self._shard(size) for _ in range(shards))
        yield self._all(self._arm(entry) for _ in range(ARMS))
        yield from self._hold("Prefect", self.rates.records / self.rates.records_s)

    def _shard(self, gigabytes: float) -> Steps:
        yield from self._hold("Hub", 2 * gigabytes / self.gb_s["Hub"])
        yield from self._hold("GPUs", gigabytes / self.rates.extrapolate_gb_s)
        yield from self._hold("S3", gigabytes / self.gb_s["S3"])
        yield from self._hold("Prefect", 4 / self.rates.records_s)

    def _arm(self, entry: Family) -> Steps:
        """The engine's model comes from S3 before it holds its GPUs; judgments come after it has let go."""
        yield from self._hold("S3", _gigabytes(entry) / self.gb_s["S3"])
        speed = self.rates.tokens_s * 7 / (entry.billions or 7) * entry.gpus
        answering = INSTRUCTIONS * self.rates.answer_tokens / speed
        yield from self._hold("GPUs", self.rates.start_s + answering, entry.gpus)
        batches = ceil(INSTRUCTIONS / JUDGED_AT_ONCE)
        seconds = self.rates.judge_s * INSTRUCTIONS / batches
        yield self._all(self._hold("judge", seconds) for _ in range(batches))

    def _hold(self, name: str, seconds: float, slots: int = 1) -> Steps:
        yield self.free[name].get(slots)
        yield self.env.timeout(seconds)
        self.used[name] += slots * seconds
        yield self.free[name].put(slots)

    def _all(self, steps: Iterable[Steps]) -> simpy.Event:
        return self.env.all_of([self.env.process(step) for step in steps])


def _gigabytes(entry: Family) -> float:
    return (entry.billions or 7) * BYTES_PER_PARAMETER


def main() -> None:
    """Prints the table of the scenarios, or of one cluster of your own."""
    parser = ArgumentParser(prog="python -m deployments.plan.simulate", description=main.__doc__)
    own = HUNDRED
    for name in ("nodes", "families", "gpus_per_node", "hub_gb_s", "s3_gb_s", "judge_requests", "servers"):
        kind = type(getattr(own, name))
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=getattr(own, name))
    given = Cluster("yours", **vars(parser.parse_args()))
    clusters = SCENARIOS if replace(given, name=own.name) == own else (given,)
    print(table((cluster, simulate(cluster)) for cluster in clusters))


if __name__ == "__main__":
    main()
