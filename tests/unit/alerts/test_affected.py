"""What an alert is about: the object, not who measured it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxbridge.alerts.affected import list_places, sort_affected

KSM = {
    "instance": "10.244.1.7:8080", "endpoint": "http", "service": "kube-state-metrics", "job": "kube-state-metrics",
    "pod": "kube-state-metrics-5d7c", "container": "kube-state-metrics", "metrics_path": "/metrics",
    "cluster": "prod", "namespace": "shop",
}  # fmt: skip


@pytest.mark.parametrize(
    "name", ["deployment", "statefulset", "daemonset", "job_name", "persistentvolumeclaim", "node", "cronjob"]
)
def test_an_object_of_kubernetes_comes_first_and_its_exporter_is_left_out(name: str) -> None:
    labels = KSM | {name: "cart", "reason": "x"}
    assert sort_affected(labels) == (
        ["node", "namespace", "cluster", "reason"] if name == "node" else [name, "namespace", "cluster", "reason"]
    )
    assert list_places(labels) == {name: "cart", "cluster": "prod", "namespace": "shop"}


@pytest.mark.parametrize("job", ["kube-state-metrics", "prometheus-kube-state-metrics", "kubelet"])
def test_a_pod_that_is_not_the_exporter_s_is_the_object(job: str) -> None:
    labels = KSM | {"job": job, "service": job, "pod": "cart-6d", "container": "cart"}
    assert sort_affected(labels) == ["pod", "container", "namespace", "cluster"]


def test_a_machine_by_its_exporter_in_kubernetes_is_told_by_its_address() -> None:
    labels = {
        "job": "node-exporter", "pod": "node-exporter-x", "container": "node-exporter", "service": "node-exporter",
        "instance": "10.0.0.5:9100", "namespace": "monitoring", "endpoint": "metrics", "team": "ops",
    }  # fmt: skip
    assert sort_affected(labels) == ["namespace", "instance", "team"]
    assert list_places(labels) == {"namespace": "monitoring", "instance": "10.0.0.5:9100"}


def test_what_measures_itself_keeps_its_pod() -> None:
    labels = {"deployment": "cart", "job": "cart", "pod": "cart-6d", "instance": "10.0.0.1:80", "namespace": "shop"}
    assert sort_affected(labels) == ["deployment", "namespace", "instance", "pod", "job"]


def test_the_node_that_a_measured_pod_runs_on_does_not_hide_the_pod() -> None:
    labels = {"job": "cart", "service": "cart", "pod": "cart-6d", "instance": "10.0.0.1:80", "node": "n1"}
    assert sort_affected(labels) == ["node", "instance", "service", "pod", "job"]


def test_wide_objects_come_before_scrapers() -> None:
    names = [
        "job", "endpoint", "container", "pod", "instance", "mountpoint", "device", "host", "service", "cluster",
        "namespace", "node", "persistentvolumeclaim", "job_name", "daemonset", "statefulset", "deployment",
    ]  # fmt: skip
    assert sort_affected({name: f"a{index}" for index, name in enumerate(names)}) == [
        "deployment", "statefulset", "daemonset", "job_name", "persistentvolumeclaim", "node", "namespace", "cluster",
        "service", "host", "device", "mountpoint", "instance", "pod", "container", "endpoint", "job",
    ]  # fmt: skip


LABELS = st.dictionaries(
    st.sampled_from([*KSM, "deployment", "node", "team", "x"]), st.sampled_from([*KSM.values(), "a"])
)


def test_labels_that_a_group_shares_are_read_with_those_that_it_does_not() -> None:
    assert sort_affected(KSM, KSM | {"deployment": "cart"}) == ["namespace", "cluster"]


@given(LABELS)
def test_each_label_comes_once_or_is_the_exporter_s(labels: dict[str, str]) -> None:
    names = sort_affected(labels)
    assert len(set(names)) == len(names)
    assert set(labels) - set(names) <= {"instance", "service", "pod", "container", "endpoint", "job", "metrics_path"}
    assert names or not labels
