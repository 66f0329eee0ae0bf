"""Run the toy pipeline in its own process, so that a test can kill it, interrupt it or wait for it."""

import sys

import toy_stages

from atlas_pipeline.engine import PlainReporter, Store, run
from atlas_pipeline.engine.cluster import local_cluster
from atlas_pipeline.engine.lanes import cpu_lanes


def main(workspace, log, orders, num_workers):
    steps = toy_stages.steps({"log": log, "orders": orders})
    reporter = PlainReporter(sys.stderr)
    if num_workers:
        with local_cluster(cpu_lanes(num_workers)) as executor:
            return run(steps, Store(workspace), executor=executor, reporter=reporter).tasks_run
    return run(steps, Store(workspace), reporter=reporter).tasks_run


if __name__ == "__main__":
    print(main(*sys.argv[1:4], int(sys.argv[4])))
