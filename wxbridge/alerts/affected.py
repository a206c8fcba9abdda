"""Which labels of an alert say what it is about: the object before who measured it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

WORKLOADS = (
    "deployment", "statefulset", "daemonset", "replicaset", "cronjob", "job_name", "persistentvolumeclaim",
    "persistentvolume", "horizontalpodautoscaler",
)  # fmt: skip
"""Objects of Kubernetes that rules are about; kube-state-metrics measures them."""
_PODS = ("pod", "container")
_PLACES = (
    "node", "nodename", "namespace", "cluster", "service", "host", "hostname", "ident", "device", "mountpoint",
)  # fmt: skip
_SCRAPED = ("instance", *_PODS, "endpoint", "job")
"""What Prometheus calls where it measured; often there is nothing else."""
_EXPORTER = "kube-state-metrics"
"""The one whose own pod has nothing to do with what it measures."""
_IN_ORDER = tuple(dict.fromkeys((*WORKLOADS, *_PLACES, *_SCRAPED)))


def sort_affected(labels: Mapping[str, str], whole: Mapping[str, str] | None = None) -> list[str]:
    """Give the names of labels, what is affected first, the narrowest object before the wide ones.

    What names the exporter comes last; where others name an object that it measured, it is left out. `whole` are all
    labels of the alert, where `labels` are some of them.
    """
    own = _find_exporter_s(labels if whole is None else whole)
    known = [name for name in _order(own) if name in labels]
    others = [name for name in labels if name not in _IN_ORDER and name not in own.names]
    last = [] if own.is_elsewhere else [name for name in _IN_ORDER if name in labels and name in own.names]
    return [*known, *others, *last]


def list_places(labels: Mapping[str, str]) -> dict[str, str]:
    """Give the labels that, with an alert's name, tell it from those of other places."""
    places = [name for name in _order(_find_exporter_s(labels)) if name != "job"]
    return {name: labels[name] for name in places if labels.get(name)}


@dataclass(frozen=True)
class _ExporterLabels:
    """The names of those labels that say who measured."""

    names: frozenset[str] = frozenset()
    is_elsewhere: bool = False
    """Whether the alert is about an object that is not the exporter's own."""


def _order(own: _ExporterLabels) -> Iterator[str]:
    """The names of labels in their order, without those of the exporter."""
    # A pod that is not the exporter's is an object.
    pods = [name for name in _PODS if name not in own.names] if own.names else []
    for name in dict.fromkeys((*WORKLOADS, *pods, *_IN_ORDER)):
        if name not in own.names:
            yield name


def _find_exporter_s(labels: Mapping[str, str]) -> _ExporterLabels:
    """Find them by the name of the scraped job, which the exporter's service and pod bear too."""
    job = labels.get("job", "")
    names = [each for each in (job, _EXPORTER) if each]
    own = {name for name in ("service", *_PODS) if any(_has_word(labels.get(name, ""), each) for each in names)}
    if not own and not _has_word(job, _EXPORTER):
        return _ExporterLabels()
    objects = [labels[name] for name in (*WORKLOADS, *_PODS, "node") if name in labels and name not in own]
    is_elsewhere = any(not _has_word(each, job or _EXPORTER) for each in objects)
    # Without such an object, what was asked is what is affected: a machine by its node exporter.
    return _ExporterLabels(
        frozenset({*own, "endpoint", "job"} | ({"instance"} if is_elsewhere else set())), is_elsewhere
    )


def _has_word(text: str, word: str) -> bool:
    return re.search(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])", text) is not None
