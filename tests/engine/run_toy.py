"""The toy pipeline as a process of its own, to be killed, interrupted or waited for: workspace log orders slow_s."""

import sys

import toy_stages

from atlas_pipeline.engine import PlainReporter, Store, run
from atlas_pipeline.engine.cluster import local_cluster

if __name__ == "__main__":
    workspace, log, orders, slow_s, workers = sys.argv[1:]
    steps = toy_stages.steps({"log": log, "fail": orders, "slow_s": float(slow_s)})
    if int(workers):
        with local_cluster(int(workers)) as executor:
            report = run(steps, Store(workspace), executor=executor, reporter=PlainReporter(sys.stderr))
    else:
        report = run(steps, Store(workspace), reporter=PlainReporter(sys.stderr))
    print(report.tasks_run)
