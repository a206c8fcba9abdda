"""Sample bodies of senders that are read by mappings, and of mails: firing and resolved, as each sender posts them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import Any, Protocol
from urllib.parse import urlencode

SAID = "Somebody ran `wxbridge alert test`."
LASTED_SECONDS = 300
"""For how long what a sample tells of has gone on."""


class MakeBody(Protocol):
    """Makes a body afresh: with the present time, so that no two are the same."""

    def __call__(self, *, resolved: bool) -> bytes | dict[str, Any]:
        """Make it firing, or resolved; what is no `bytes` is posted as JSON."""


def _began() -> datetime:
    return datetime.now(UTC) - timedelta(seconds=LASTED_SECONDS)


def uptime_kuma(*, resolved: bool) -> dict[str, Any]:
    """Uptime Kuma: a page that is down; its clock is UTC's."""
    began, now = (moment.strftime("%Y-%m-%d %H:%M:%S.000") for moment in (_began(), datetime.now(UTC)))
    heartbeat = {"monitorID": 1, "important": True, "timezone": "UTC", "timezoneOffset": "+00:00"}
    if resolved:
        heartbeat |= {"status": 1, "time": now, "lastDownTime": began, "msg": "200 - OK", "ping": 182}
    else:
        heartbeat |= {"status": 0, "time": began, "msg": "Request failed with status code 502"}
    word = "✅ Up" if resolved else "🔴 Down"
    return {
        "heartbeat": heartbeat,
        "monitor": {
            "id": 1,
            "name": "Shop",
            "pathName": "Production / Shop",
            "description": SAID,
            "url": "https://shop.example.com/",
            "hostname": None,
            "port": None,
            "type": "http",
            "tags": [{"name": "team", "value": "shop"}],
        },
        "msg": f"[Shop] [{word}] {heartbeat['msg']}",
    }


def zabbix(*, resolved: bool) -> dict[str, Any]:
    """Zabbix: the parameters of the media type below deploy/zabbix."""
    return {
        "event_id": "4711",
        "event_source": "0",
        "event_name": "CPU load of db-1 is 97.5 %",
        "event_value": "0" if resolved else "1",
        "event_nseverity": "4",
        "event_severity": "High",
        "event_opdata": f"Load now: {'10.25' if resolved else '97.5'} %",
        "event_duration": "5m",
        "event_tags": json.dumps([{"tag": "service", "value": "shop"}, {"tag": "component", "value": "cpu"}]),
        "event_update_status": "0",
        "event_update_action": "{EVENT.UPDATE.ACTION}",
        "event_update_message": "{EVENT.UPDATE.MESSAGE}",
        "user_fullname": "{USER.FULLNAME}",
        "trigger_id": "23133",
        "host_name": "db-1",
        "host_ip": "10.0.0.7",
        "zabbix_url": "https://zabbix.example.com",
    }


def nightingale(*, resolved: bool) -> dict[str, Any]:
    """Nightingale: one event."""
    now = int(time.time())
    event: dict[str, Any] = {
        "id": 1001,
        "cluster": "Default",
        "group_name": "Shop",
        "hash": "wxbridge-alert-test",
        "rule_name": "Memory is short",
        "rule_note": SAID,
        "severity": 2,
        "target_ident": "web-1",
        "trigger_time": now - LASTED_SECONDS,
        "first_trigger_time": now - LASTED_SECONDS,
        "trigger_value": "93.21",
        "tags": ["ident=web-1", "service=shop"],
        "is_recovered": resolved,
        "last_eval_time": now,
    }
    if resolved:
        event |= {"recover_time": now, "annotations": {"recovery_value": "41.5"}}
    return event


def jenkins(*, resolved: bool) -> dict[str, Any]:
    """Jenkins, plugin Notification: a build of a branch in a folder."""
    path = "job/payments/job/main/"
    return {
        "name": "main",
        "display_name": "main",
        "url": path,
        "build": {
            "full_url": f"https://ci.example.com/{path}12/",
            "number": 12,
            "phase": "FINALIZED",
            "status": "SUCCESS" if resolved else "FAILURE",
            "url": f"{path}12/",
            "notes": SAID,
            "scm": {"branch": "main"},
        },
    }


def github(*, resolved: bool) -> dict[str, Any]:
    """GitHub: a workflow that has run."""
    return {
        "action": "completed",
        "workflow_run": {
            "id": 9001,
            "name": "CI",
            "head_branch": "main",
            "status": "completed",
            "conclusion": "success" if resolved else "failure",
            "display_title": SAID,
            "html_url": "https://github.com/example/shop/actions/runs/9001",
            "path": ".github/workflows/ci.yml",
        },
        "repository": {"full_name": "example/shop", "html_url": "https://github.com/example/shop"},
        "sender": {"login": "someone"},
    }


def gitlab(*, resolved: bool) -> dict[str, Any]:
    """GitLab: a pipeline."""
    outcome = "success" if resolved else "failed"
    return {
        "object_kind": "pipeline",
        "object_attributes": {
            "id": 31,
            "ref": "main",
            "status": outcome,
            "source": "push",
            "duration": LASTED_SECONDS,
            "url": "https://gitlab.example.com/shop/web/-/pipelines/31",
        },
        "user": {"name": "Some One", "username": "someone"},
        "project": {"id": 5, "path_with_namespace": "shop/web", "web_url": "https://gitlab.example.com/shop/web"},
        "commit": {"title": SAID, "message": SAID},
        "builds": [
            {"name": "build", "stage": "build", "status": "success"},
            {"name": "test", "stage": "test", "status": outcome},
        ],
    }


def graylog(*, resolved: bool) -> dict[str, Any]:
    """Graylog: an event with the messages behind it; its definition has a field `status`."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {
        "event_definition_id": "65a1",
        "event_definition_type": "aggregation-v1",
        "event_definition_title": "Many errors",
        "event_definition_description": SAID,
        "event": {
            "id": "01HX",
            "timestamp": now,
            "message": "Many errors: count()=12",
            "source": "graylog-1",
            "key": "shop",
            "priority": 3,
            "alert": True,
            "fields": {"service": "shop", **({"status": "resolved"} if resolved else {})},
        },
        "backlog": [{"timestamp": now, "source": "web-1", "message": "upstream timed out", "fields": {}}],
    }


def sonarqube(*, resolved: bool) -> dict[str, Any]:
    """SonarQube: a branch and its quality gate."""
    url = "https://sonar.example.com"
    return {
        "serverUrl": url,
        "taskId": "AVh21JS2JepAEhwQ-b3u",
        "status": "SUCCESS",
        "analysedAt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S+0000"),
        "project": {"key": "shop-web", "name": "Shop web", "url": f"{url}/dashboard?id=shop-web"},
        "branch": {"name": "main", "type": "BRANCH", "isMain": True, "url": f"{url}/dashboard?id=shop-web"},
        "qualityGate": {
            "name": "Sonar way",
            "status": "OK" if resolved else "ERROR",
            "conditions": [
                {
                    "metric": "new_coverage",
                    "operator": "LESS_THAN",
                    "value": "91.2" if resolved else "64.5",
                    "status": "OK" if resolved else "ERROR",
                    "errorThreshold": "80",
                },
                {"metric": "new_bugs", "operator": "GREATER_THAN", "status": "NO_VALUE", "errorThreshold": "0"},
            ],
        },
    }


def aliyun(*, resolved: bool) -> bytes:
    """Aliyun CloudMonitor: a form."""
    fields: Mapping[str, str] = {
        "userId": "127067667954",
        "ruleId": "putNewAlarm_wxbridge",
        "alertName": "ECS CPU",
        "alertState": "OK" if resolved else "ALERT",
        ("preTriggerLevel" if resolved else "triggerLevel"): "CRITICAL",
        "instanceName": "web-1",
        "metricName": "CPUUtilization",
        "curValue": "41.5" if resolved else "92.5",
        "unit": "%",
        "expression": "$Average>=90",
        "dimensions": "{userId=127067667954, instanceId=i-12345}",
        "namespace": "acs_ecs_dashboard",
        "regionId": "cn-hangzhou",
        "lastTime": f"{LASTED_SECONDS // 60}分钟",
        "timestamp": str(int(time.time() * 1000)),
    }
    return urlencode(fields).encode()


def tencent(*, resolved: bool) -> dict[str, Any]:
    """Tencent Cloud monitoring: a metric."""
    zone = timedelta(hours=8)
    began, now = ((moment + zone).strftime("%Y-%m-%d %H:%M:%S") for moment in (_began(), datetime.now(UTC)))
    body: dict[str, Any] = {
        "sessionId": "0123",
        "alarmStatus": "0" if resolved else "1",
        "alarmType": "metric",
        "alarmObjInfo": {
            "region": "gz",
            "namespace": "qce/cvm",
            "appId": "1250000000",
            "uin": "100000000001",
            "dimensions": {"unInstanceId": "ins-o9p3rg3m", "objId": "10b9c0f9"},
        },
        "alarmPolicyInfo": {
            "policyId": "policy-n4exeh88",
            "policyType": "cvm_device",
            "policyName": "CVM CPU",
            "policyTypeCName": "云服务器-基础监控",
            "conditions": {
                "metricName": "cpu_usage",
                "metricShowName": "CPU 利用率",
                "calcType": ">",
                "calcValue": "90",
                "calcUnit": "%",
                "currentValue": "41.5" if resolved else "92.5",
                "unit": "%",
                "period": "60",
            },
        },
        "firstOccurTime": began,
        "durationTime": LASTED_SECONDS,
    }
    if resolved:
        body["recoverTime"] = now
    return body


def huawei(*, resolved: bool) -> dict[str, Any]:
    """Huawei Cloud Eye, in the envelope of SMN."""
    now = int(time.time() * 1000)
    message = {
        "message_type": "alarm",
        "alarm_id": "al1603131199286dzxpqK3Ez",
        "alarm_name": "ECS CPU",
        "alarm_status": "ok" if resolved else "alarm",
        "time": now,
        "namespace": "SYS.ECS",
        "metric_name": "cpu_util",
        "dimension": "instance_id:6f3c6f91",
        "comparison_operator": ">=",
        "value": 80,
        "unit": "%",
        "template_variable": {
            "Namespace": "弹性云服务器",
            "ResourceName": "web-1",
            "ResourceId": "6f3c6f91",
            "MetricName": "CPU 使用率",
            "IsAlarm": not resolved,
            "AlarmLevel": "重要",
            "Region": "华北-北京四",
            "PrivateIp": "10.0.0.9",
            "ComparisonOperator": ">=",
            "Value": "80%",
            "CurrentData": "41.5%" if resolved else "92.5%",
        },
    }
    return {
        "type": "Notification",
        "topic_urn": "urn:smn:cn-north-4:0123:ops",
        "message_id": "adf2b1",
        "subject": "[Cloud Eye]",
        "message": json.dumps(message, ensure_ascii=False),
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def apprise(*, resolved: bool) -> dict[str, Any]:
    """Apprise, `json://`: what came of a job."""
    outcome = "success" if resolved else "failure"
    return {"version": "1.0", "title": "Backup of db-1", "message": SAID, "attachments": [], "type": outcome}


def mail(*, resolved: bool) -> bytes:
    """A mail of mdadm's; of what is well again, one as watching scripts write it."""
    subject = "[RESOLVED] DegradedArray on /dev/md0" if resolved else "DegradedArray event on /dev/md0:nas"
    return (
        f"From: mdadm monitoring <root@nas>\nTo: root\nSubject: {subject}\nDate: {formatdate()}\n\n"
        f"This is an automatically generated mail message from mdadm running on nas.\n\n{SAID}\n"
    ).encode()


BY_MAPPING: Mapping[str, MakeBody] = {
    "uptime-kuma": uptime_kuma,
    "zabbix": zabbix,
    "nightingale": nightingale,
    "jenkins": jenkins,
    "github": github,
    "gitlab": gitlab,
    "graylog": graylog,
    "sonarqube": sonarqube,
    "aliyun": aliyun,
    "tencent": tencent,
    "huawei": huawei,
    "apprise": apprise,
}
"""By the NAME of `/hooks/generic/NAME`."""
