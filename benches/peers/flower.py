"""Flower's SecAgg+ on a given number of sites and elements: processor seconds on one core, as JSON lines.

The stages are Flower's own: its client mod and its server workflow, called in process. Only what is around them is from here: a
grid that hands messages over without a network, clients with a random vector each, and a strategy that does nothing. Times are those
of the process on a processor, without what the driver does. No message is serialised, and no vector is trained.

    python flower.py --sites 100 --elements 1000000 --drops 0 10

prints one line for each client (`masking`: the stage that makes the masked vector, without opening received shares; `together`:
everything from new keys to the masked vector) and one for each number of drops (`unmask`: the server's last stage). Sites drop
after they have dealt their shares and before they upload. The plain sum is compared with what the sites put in.
"""

import argparse
import copy
import dataclasses
import importlib
import json
import logging
import os
import platform
import sys
from time import process_time

import flwr
import numpy as np
from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.common import (
    Code,
    FitIns,
    FitRes,
    Status,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.common.secure_aggregation.secaggplus_constants import (
    RECORD_KEY_CONFIGS,
    RECORD_KEY_STATE,
    Key,
    Stage,
)
from flwr.compat.common import recorddict_compat as compat
from flwr.server.compat.legacy_context import LegacyContext
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.server.workflow.constant import Key as WorkflowKey
from flwr.server.workflow.secure_aggregation.secaggplus_workflow import WorkflowState
from flwr.supercore.task_identity import TaskIdentity

# The package has a function of the module's name.
MOD = importlib.import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")

EXAMPLES = 500
# Part of all shares that joins them to the secret.
THRESHOLD = 0.67
# Quantisation has 2^22 steps over [-8, 8]; a plain mean that is further off than this was not unmasked.
TOLERANCE = 1e-3


class Stopwatch:
    """Adds up the processor time of calls."""

    def __init__(self):
        self.seconds = 0.0

    def timed(self, work):
        def run(*args, **kwargs):
            start = process_time()
            try:
                return work(*args, **kwargs)
            finally:
                self.seconds += process_time() - start

        return run

    def take(self):
        seconds, self.seconds = self.seconds, 0.0
        return seconds


class Client:
    """One site: its state, its vector, and the time that each stage took it."""

    opening = Stopwatch()

    def __init__(self, node, elements):
        self.node, self.elements = node, elements
        self.context = Context(1, node, {}, RecordDict(), {})
        self.seconds = {}
        self.training = Stopwatch()
        self.app = self.training.timed(self.train)

    def vector(self):
        return np.random.default_rng(self.node).standard_normal(
            self.elements, dtype=np.float32
        )

    def train(self, message, _context):
        parameters = ndarrays_to_parameters([self.vector()])
        result = FitRes(Status(Code.OK, ""), parameters, EXAMPLES, {})
        return Message(compat.fitres_to_recorddict(result, False), reply_to=message)

    def handle(self, message):
        stage = message.content.config_records[RECORD_KEY_CONFIGS][Key.STAGE]
        start = process_time()
        reply = MOD.secaggplus_mod(message, self.context, self.app)
        self.seconds[stage] = process_time() - start - self.training.take()
        if stage == Stage.COLLECT_MASKED_VECTORS:
            self.seconds["opening"] = self.opening.take()
        return reply

    def report(self):
        last = self.seconds[Stage.COLLECT_MASKED_VECTORS]
        before = self.seconds[Stage.SETUP] + self.seconds[Stage.SHARE_KEYS]
        return {
            "masking": last - self.seconds["opening"],
            "together": before + last,
        }


class Grid:
    """Hands each message to its client at once, and lets the clients in `lost` send no vector."""

    def __init__(self, clients, report):
        self.clients, self.report = clients, report
        self.lost, self.masked = frozenset(), {}
        self.elsewhere = Stopwatch()
        self.send_and_receive = self.elsewhere.timed(self.deliver)

    def deliver(self, messages, timeout=None):
        del timeout
        return [self.hand_over(message) for message in messages]

    def hand_over(self, message):
        node = message.metadata.dst_node_id
        records = message.content.config_records
        settings = records[RECORD_KEY_CONFIGS]
        if settings[Key.STAGE] != Stage.COLLECT_MASKED_VECTORS:
            # A client takes its settings apart, and in the first stage all share them.
            records[RECORD_KEY_CONFIGS] = ConfigRecord(dict(settings))
            reply = self.clients[node].handle(message)
            records[RECORD_KEY_CONFIGS] = settings
            return reply
        if node in self.lost:
            return Message(Error(0, "lost"), reply_to=message)
        if node not in self.masked:
            self.masked[node] = self.clients[node].handle(message)
            self.report(self.clients[node].report())
        return self.masked[node]


class Strategy:
    """Picks every client; keeps the plain mean and does nothing with it."""

    mean = None

    def __init__(self, nodes):
        self.proxies = [Proxy(node) for node in nodes]

    def configure_fit(self, _round, parameters, _manager):
        return [(proxy, FitIns(parameters, {})) for proxy in self.proxies]

    def aggregate_fit(self, _round, results, _failures):
        (self.mean,) = parameters_to_ndarrays(results[0][1].parameters)
        return None, {}


@dataclasses.dataclass
class Proxy:
    """What the workflow knows of a client."""

    node_id: int


def server(nodes):
    """A workflow with every site a neighbour of every other, and what it works on."""
    context = LegacyContext(
        Context(1, 0, {}, RecordDict(), {}), strategy=Strategy(nodes)
    )
    context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord(
        {WorkflowKey.CURRENT_ROUND: 1}
    )
    model = compat.parameters_to_arrayrecord(ndarrays_to_parameters([]), True)
    context.state.array_records[MAIN_PARAMS_RECORD] = model
    return SecAggPlusWorkflow(1.0, THRESHOLD), context


def finish(workflow, context, grid, dealt, drops):
    """The last two stages with the last `drops` sites lost; the seconds that the server itself needed."""
    state = copy.copy(dealt)
    state.nid_to_neighbours = copy.deepcopy(dealt.nid_to_neighbours)
    state.legacy_results, state.failures = [], []
    nodes = sorted(grid.clients)
    grid.lost = frozenset(nodes[len(nodes) - drops :])
    seconds = {}
    for name, stage in [
        ("sum", workflow.collect_masked_vectors_stage),
        ("unmask", workflow.unmask_stage),
    ]:
        before = snapshot(grid) if name == "unmask" else {}
        grid.elsewhere.take()
        start = process_time()
        if not stage(grid, context, state):
            sys.exit(f"Flower gave up in stage {name}")
        seconds[name] = process_time() - start - grid.elsewhere.take()
        for node, record in before.items():
            grid.clients[node].context.state.config_records[RECORD_KEY_STATE] = record
    check(context.strategy.mean, [grid.clients[n] for n in nodes if n not in grid.lost])
    return seconds


def snapshot(grid):
    """The clients' states, so that several numbers of drops can follow from one sharing."""
    return {
        node: client.context.state.config_records[RECORD_KEY_STATE]
        for node, client in grid.clients.items()
    }


def check(mean, clients):
    total = np.zeros(len(mean))
    for client in clients:
        total += np.clip(client.vector(), -8, 8)
    worst = float(np.max(np.abs(mean - total / len(clients))))
    if worst > TOLERANCE:
        sys.exit(f"Flower's mean is {worst} off")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", type=int, default=100)
    parser.add_argument("--elements", type=int, default=1_000_000)
    parser.add_argument("--drops", type=int, nargs="*", default=[], help="unmask with so many sites lost; none: clients only")
    parser.add_argument("--turns", action="store_true", help="wait for a line on standard input after each line")
    return parser.parse_args()


def main():
    options = arguments()
    logging.getLogger("flwr").setLevel(logging.ERROR)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    def say(line):
        print(json.dumps(line), flush=True)
        if options.turns:
            sys.stdin.readline()

    say(
        {
            "flwr": flwr.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "sites": options.sites,
            "elements": options.elements,
        }
    )
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 0
    MOD.decrypt = Client.opening.timed(MOD.decrypt)
    nodes = range(1, options.sites + 1)
    clients = {node: Client(node, options.elements) for node in nodes}
    grid = Grid(clients, say)
    workflow, context = server(nodes)
    dealt = WorkflowState()
    for stage in (workflow.setup_stage, workflow.share_keys_stage):
        if not stage(grid, context, dealt):
            sys.exit("Flower gave up before any vector was masked")
    for drops in options.drops:
        say({"drops": drops} | finish(workflow, context, grid, dealt, drops))
    if not options.drops:
        workflow.collect_masked_vectors_stage(grid, context, dealt)


if __name__ == "__main__":
    main()
