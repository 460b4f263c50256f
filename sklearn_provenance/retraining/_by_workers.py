"""Copies that workers of a Dask cluster train."""

from threading import Lock

from .._utils.cluster import Cluster

# Copies take their seeds from generators that all threads of a process share.
_one_at_a_time = Lock()


def groups_by_workers(client, trainer, pending, tick, kept):
    """Yield numbers of copies and their outputs, as ``trainer.groups`` does.

    Parameters
    ----------
    client : dask.distributed.Client
        The client.
    trainer : NetworkCopies or EstimatorCopies
        What trains a group of copies by a plan.
    pending : ndarray of shape (n,)
        Numbers of copies to train.
    tick : callable
        Told of copies that are done.
    kept : str
        What an error says of copies that are done when the cluster is lost.
    """
    cluster = Cluster(client, "retraining", kept)
    shared = cluster.shared(trainer.without_plans())
    groups = []

    def pieces():
        for group, plan in trainer.plans(pending):
            groups.append(group)
            yield (plan,)

    for number, outputs in enumerate(cluster.in_order(_train, shared, pieces())):
        tick(len(groups[number]))
        yield groups[number], outputs


def _train(trainer, plan):
    """Train the copies of a plan on a worker."""
    with _one_at_a_time:
        return trainer.train(plan, _tell_nobody)


def _tell_nobody(share):
    """Take the share of work that is done."""
