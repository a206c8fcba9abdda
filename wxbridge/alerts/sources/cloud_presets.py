"""Mappings of what the clouds' own monitoring posts: Aliyun CloudMonitor, Tencent Cloud Monitor, Huawei Cloud Eye.

The fields are those of their public documentation. Of all three the recovery names the same rule and the same object.
"""

from __future__ import annotations

from wxbridge.config.hooks import BodyMapping

ALIYUN = BodyMapping(
    shape="alertName && alertState && (metricName || expression || ruleId)",
    title="alertName",
    status="alertState == 'INSUFFICIENT_DATA' && 'no_data' || alertState",
    severity="alertState == 'OK' && preTriggerLevel || triggerLevel || preTriggerLevel",
    text="expression",
    duration="lastTime",
    ends_at="timestamp",
    labels={"instance": "instanceName", "product": "productGroupName || namespace", "region": "regionName || regionId"},
    values="metricName && curValue && [{name: metricName, value: curValue, unit: unit}]",
    id="join(' ', [ruleId || alertName, dimensions || instanceName || '', metricName || ''])",
    sender="userId",
)
"""A form, one for each change of a rule's state on an object. At the end the level is in `preTriggerLevel`."""

TENCENT = BodyMapping(
    shape="alarmPolicyInfo && alarmObjInfo",
    title="alarmPolicyInfo.policyName || alarmPolicyInfo.policyTypeCName",
    status="alarmStatus",
    severity="alarmLevel || alarmPolicyInfo.conditions.alarmLevel",
    text="alarmPolicyInfo.conditions.eventShowName || alarmPolicyInfo.conditions.eventName || "
    "(alarmPolicyInfo.conditions.calcType && join('', alarmPolicyInfo.conditions.[metricShowName || metricName || '', "
    "' ', calcType, ' ', to_string(calcValue || ''), calcUnit || unit || '']))",
    labels={
        "instance": "(alarmObjInfo.dimensions | objName || unInstanceId || objId || instanceId || eip) "
        "|| to_string(alarmObjInfo.dimensions)",
        "product": "alarmPolicyInfo.policyTypeCName || alarmObjInfo.namespace",
        "region": "alarmObjInfo.region",
    },
    values="alarmPolicyInfo.conditions.currentValue && [alarmPolicyInfo.conditions."
    "{name: metricShowName || metricName, value: currentValue, unit: unit || calcUnit}]",
    id="join(' ', [alarmPolicyInfo.policyId || alarmPolicyInfo.policyName || '', to_string(alarmObjInfo.dimensions), "
    "alarmPolicyInfo.conditions.metricName || alarmPolicyInfo.conditions.eventName || ''])",
    # Its clock is Beijing's, and does not say so.
    starts_at="firstOccurTime && join('', [firstOccurTime, '+08:00'])",
    ends_at="recoverTime && join('', [recoverTime, '+08:00'])",
    duration="durationTime",
    sender="alarmObjInfo.uin || alarmObjInfo.appId",
)
"""`alarmStatus` is 1 and 0, as a number or as a string; an event has no figures."""

HUAWEI = BodyMapping(
    # What a topic passes on is JSON as a string; of an ordinary message it is a text.
    alerts="[merge(@, from_json(message) || `{}`)]",
    shape="topic_urn && message_id && type",
    title="template_variable.AlarmRuleName || template_variable.RuleName || alarm_name || subject || type",
    status="alarm_status == 'insufficient_data' && 'no_data' || alarm_status "
    "|| template_variable.IsAlarm == `true` && 'alarm' || template_variable.IsAlarm == `false` && 'ok' || null",
    severity="template_variable.AlarmLevel || alarm_level",
    text="type == 'SubscriptionConfirmation' && message || !alarm_status && !template_variable && message || "
    "template_variable.AlarmDesc || template_variable.AlarmDescription || (comparison_operator && join('', "
    "[template_variable.MetricName || metric_name || '', ' ', comparison_operator, ' ', to_string(value), unit || '']"
    "))",
    labels={
        "instance": "template_variable.ResourceName || template_variable.ResourceId || dimension",
        "product": "template_variable.Namespace || namespace",
        "region": "template_variable.Region",
        "ip": "template_variable.PrivateIp || template_variable.PublicIp",
    },
    values="template_variable.CurrentData && template_variable.[{name: MetricName || 'value', value: CurrentData}] "
    "|| alarmValue[-1:].{value: value} && [{name: metric_name, value: alarmValue[-1].value, unit: unit}]",
    link="subscribe_url",
    starts_at="alarm_status == 'alarm' && time || null",
    ends_at="time",
    id="alarm_id && join(' ', [alarm_id, dimension || template_variable.ResourceId || ''])",
    # A topic that is to be confirmed, and what is no alarm at all.
    test="type && !alarm_status && !template_variable",
)
"""Cloud Eye by way of SMN, whose envelope has `type`, `subject` and `message`."""

CLOUDS: dict[str, BodyMapping] = {"aliyun": ALIYUN, "tencent": TENCENT, "huawei": HUAWEI}
