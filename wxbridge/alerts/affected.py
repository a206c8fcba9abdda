"""Which labels of an alert say what it is about: the object before who measured it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wxbridge.core.text.words import has_word

WORKLOADS = (
    "deployment", "statefulset", "daemonset", "replicaset", "cronjob", "job_name", "persistentvolumeclaim",
    "persistentvolume", "horizontalpodautoscaler",
)  # fmt: skip
"""Objects of Kubernetes that rules are about; kube-state-metrics measures them."""
_PODS = ("pod", "container")
_BEARERS = frozenset(("service", *_PODS))
"""The labels that may bear an exporter's name."""
_PLACES = (
    "node", "nodename", "namespace", "cluster", "service", "host", "hostname", "ident", "device", "mountpoint",
)  # fmt: skip
_SCRAPED = ("instance", *_PODS, "endpoint", "job")
"""What Prometheus calls where it measured; often there is nothing else."""
_EXPORTER = "kube-state-metrics"
"""The one whose own pod and address have nothing to do with what it measures."""
_OF_MACHINES = ("node-exporter", "kubelet")
"""Those whose address is that of the machine that they measure, and whose pod says no more."""
_IN_ORDER = tuple(dict.fromkeys((*WORKLOADS, *_PLACES, *_SCRAPED)))
_KNOWN = frozenset(_IN_ORDER)


def sort_affected(labels: Mapping[str, str], whole: Mapping[str, str] | None = None) -> list[str]:
    """Give the names of labels, what is affected first, the narrowest object before the wide ones.

    What names the exporter comes last; where others name an object that it measured, it is left out. `whole` are all
    labels of the alert, where `labels` are some of them.
    """
    if not labels:
        return []
    own = _find_exporter_s(labels if whole is None else whole)
    known = [name for name in _order(own) if name in labels]
    others = [name for name in labels if name not in _KNOWN and name not in own.names]
    measured = [name for name in (*_IN_ORDER, "metrics_path") if name in labels and name in own.names]
    last = [] if own.is_left_out else measured
    return [*known, *others, *last]


def list_places(labels: Mapping[str, str]) -> dict[str, str]:
    """Give the labels that, with an alert's name, tell it from those of other places."""
    places = [name for name in _order(_find_exporter_s(labels)) if name != "job"]
    return {name: labels[name] for name in places if labels.get(name)}


@dataclass(frozen=True)
class _ExporterLabels:
    """The names of those labels that say who measured."""

    names: frozenset[str] = frozenset()
    is_left_out: bool = False
    """Whether the alert is about an object that is not the exporter's own, so that they say nothing of it."""


_NO_EXPORTER = _ExporterLabels()


def _order(own: _ExporterLabels) -> Iterator[str]:
    """The names of labels in their order, without those of the exporter."""
    if not own.names:
        return iter(_IN_ORDER)
    # A pod that is not the exporter's is an object.
    pods = [name for name in _PODS if name not in own.names]
    names = dict.fromkeys((*WORKLOADS, *pods, *_IN_ORDER))
    return (name for name in names if name not in own.names)


def _find_exporter_s(labels: Mapping[str, str]) -> _ExporterLabels:
    """Find them by the name of the scraped job, which the exporter's service and pod bear too."""
    job = labels.get("job", "")
    if _EXPORTER not in job and _BEARERS.isdisjoint(labels):
        return _NO_EXPORTER
    exporters = [each for each in (job, _EXPORTER) if each]
    own = {name for name in _BEARERS if any(has_word(labels.get(name, ""), each) for each in exporters)}
    if not own and not has_word(job, _EXPORTER):
        return _NO_EXPORTER
    is_of_machine = any(has_word(job, each) for each in _OF_MACHINES)
    is_of_others = is_of_machine or any(has_word(labels[name], _EXPORTER) for name in (*own, "job") if name in labels)
    # Elsewhere a node is no more than where the measured pod runs.
    names = [*WORKLOADS, *_PODS, *(["node"] if is_of_others else [])]
    objects = [labels[name] for name in names if name in labels and name not in own]
    is_elsewhere = any(not has_word(each, job or _EXPORTER) for each in objects)
    # Without such an object, what was asked is what is affected: a machine by its node exporter.
    address = {"instance"} if is_elsewhere else set[str]()
    is_left_out = is_elsewhere or (is_of_machine and "instance" in labels)
    return _ExporterLabels(frozenset({*own, "endpoint", "metrics_path", "job", *address}), is_left_out)
