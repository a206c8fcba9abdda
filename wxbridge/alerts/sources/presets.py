"""Mappings that ship: what `/hooks/generic/NAME` reads without any configuration.

A mapping of the same name in jobs.yaml comes first.
"""

from __future__ import annotations

from wxbridge.config.hooks import BodyMapping

UPTIME_KUMA = BodyMapping(
    shape="msg && type(heartbeat) != 'array' && contains(keys(@), 'heartbeat') && contains(keys(@), 'monitor')",
    # Within its group, where it is in one: names are unique only there. Of a test, and of what expires, there is a
    # message alone.
    title="monitor.pathName || monitor.name || capture(msg, '^\\[(.+)\\]\\[[^\\]]*\\] (.*)$') "
    "&& join(' · ', capture(msg, '^\\[(.+)\\]\\[[^\\]]*\\] (.*)$')) || msg",
    text="join('\n', [heartbeat.msg, monitor.description][?@])",
    status="heartbeat.status == `0` && 'down' || heartbeat.status == `1` && 'up' "
    "|| heartbeat.status == `2` && 'pending' || heartbeat.status == `3` && 'maintenance' || null",
    severity="!monitor && capture(msg, 'will expire in (\\d+) days$')[0] && "
    "(to_number(capture(msg, 'will expire in (\\d+) days$')[0]) <= `7` && 'high' || 'warning') || null",
    labels={
        "type": "monitor.type",
        "host": "monitor.hostname",
        "port": "monitor.hostname && monitor.port",
        "tags": "monitor.tags",
    },
    values={"ping": "heartbeat.ping && {value: heartbeat.ping, unit: 'ms'}"},
    # Its clock is UTC's, and does not say so. What it says again while it is down has the time of that.
    starts_at="heartbeat.status == `1` && heartbeat.lastDownTime && join(' ', [heartbeat.lastDownTime, 'UTC']) "
    "|| heartbeat.status == `0` && heartbeat.important != `false` && join(' ', [heartbeat.time, 'UTC'])",
    ends_at="join(' ', [heartbeat.time, 'UTC'])",
    link="monitor.url || capture(msg, '\\[(https?://[^\\]]+)\\]')[0]",
    # Servers count from 1, each for itself, and do not say who they are. Of what expires the days are left out.
    id="monitor.id && join(' ', [to_string(monitor.id), monitor.pathName || monitor.name || '', "
    "monitor.url || '', monitor.hostname || '']) || capture(msg, '^(.*) will expire in \\d+ days$')[0]",
    test="!monitor && !heartbeat && !capture(msg, '(will expire) in \\d+ days$')",
)
"""Uptime Kuma's notification "Webhook", as JSON or as a form (`server/notification-providers/webhook.js`).

That a certificate or a domain expires is only in its message (`server/model/monitor.js`, `domain_expiry.js`).
"""

ZABBIX = BodyMapping(
    shape="event_id && (event_value || trigger_id) && (event_name || trigger_name || alert_subject)",
    title="event_name || trigger_name || alert_subject",
    text="join('\n', [event_update_message, event_opdata || alert_message][?@])",
    status="event_value",
    severity="event_nseverity == '5' && 'Disaster' || event_nseverity == '4' && 'High' "
    "|| event_nseverity == '3' && 'Average' || event_nseverity == '2' && 'Warning' "
    "|| event_nseverity == '1' && 'Information' || event_severity || trigger_severity",
    labels={"host": "host_name", "ip": "host_ip", "tags": "event_tags"},
    values="!event_opdata && item_value && [{name: item_name || 'value', value: item_value}]",
    starts_at="[event_timestamp, event_date && event_time && join(' ', [event_date, event_time])]",
    ends_at="[event_recovery_timestamp, "
    "event_recovery_date && event_recovery_time && join(' ', [event_recovery_date, event_recovery_time])]",
    # Date and time are of its own zone, which is not always the bridge's: the duration tells.
    duration="event_duration || event_age",
    link="starts_with(zabbix_url, 'http') && trigger_id && event_id "
    "&& join('', [zabbix_url, '/tr_events.php?triggerid=', trigger_id, '&eventid=', event_id]) || trigger_url",
    id="event_id",
    once=True,
    update="event_update_status == '1' && (event_update_action || 'updated')",
    # What Zabbix says where the user whom it tells may not see who did it.
    by="user_fullname != 'Inaccessible user' && user_fullname || null",
    sender="zabbix_url",
    # The button sends the parameters as they were typed. What is discovered or registers itself is no problem.
    test="event_id && starts_with(event_id, '{') || event_source == '1' || event_source == '2'",
)
"""Zabbix's media type "Webhook", which posts what its script says: deploy/zabbix has one to import.

The parameters have the names that Zabbix's own media types give them (`event_value` = `{EVENT.VALUE}`, `event_tags` =
`{EVENT.TAGSJSON}`, `zabbix_url` = `{$ZABBIX.URL}`, …).
"""

NIGHTINGALE = BodyMapping(
    # An event is the body, or a list of them, or stands below a name.
    alerts="events || event && [event] || [@][]",
    shape="(events || event && [event] || [@][])[0] | rule_name && hash && (trigger_time || group_name)",
    title="rule_name",
    text="rule_note",
    status="is_recovered && 'resolved' || 'firing'",
    severity="severity == `1` && 'critical' || severity == `2` && 'warning' || severity == `3` && 'info' || severity",
    labels={"tags": "tags_map || tags", "ident": "target_ident", "group": "group_name", "cluster": "cluster"},
    annotations={"notify_users_obj": "notify_users_obj[*].[username || nickname || phone][]"},
    values={"value": "trigger_value"},
    recovery_value="annotations.recovery_value",
    starts_at="[first_trigger_time, trigger_time]",
    ends_at="[recover_time, last_eval_time]",
    link="runbook_url",
    id="hash",
    sender="join(' ', [cluster || '', group_name || ''])",
)
"""Nightingale's (夜莺) webhook and callback: its struct `AlertCurEvent` (`models/alert_cur_event.go`)."""

JENKINS = BodyMapping(
    shape="build.phase && build.number && url",
    # The folders, then the job: `payments » main #12`.
    title="(display_name || name) && join(' #', ["
    "join(' » ', [(path_parts(url || '')[1::2] | [:-1]), [display_name || name]][]), to_string(build.number)])",
    text="build.notes",
    status="build.status || build.phase",
    labels={"job": "name", "branch": "build.scm.branch"},
    link="build.full_url",
    # A name is unique within its folder only.
    id="url || name",
    sender="build.full_url",
)
"""Jenkins' Notification plugin, format JSON; choose the event "Job finalized", or each build is told several times."""

GITHUB = BodyMapping(
    shape="repository.full_name && repository.html_url && (workflow_run || workflow_job || check_run || check_suite)",
    title="join(' · ', [repository.full_name, "
    "(workflow_run || workflow_job || check_run).name || check_suite.app.name])",
    text="workflow_run.display_title || check_run.output.title || zen || head_commit.message",
    status="(workflow_run || workflow_job || check_run || check_suite).[conclusion, status][?@] | [0]",
    labels={
        "repository": "repository.full_name",
        "branch": "(workflow_run || workflow_job || check_suite || check_run.check_suite).head_branch",
        "user": "sender.login",
    },
    link="(workflow_run || workflow_job || check_run).html_url",
    # The branch, and not who pushed: a failure and the success after it are of one workflow. A fork's branch of the
    # same name is another one, and so is a workflow of the same name in another file.
    id="join(' ', [repository.full_name, (workflow_run || workflow_job || check_run).name || '', "
    "(workflow_run || workflow_job || check_suite || check_run.check_suite).head_branch || '', "
    "workflow_run.head_repository.full_name || '', workflow_run.path || workflow_job.workflow_name || '', "
    "(check_suite || check_run).app.slug || ''])",
    sender="repository.html_url",
)
"""GitHub's webhook, the events of Actions and checks ("Webhook events and payloads")."""

GRAYLOG = BodyMapping(
    shape="event_definition_title && event",
    title="event_definition_title",
    # Where the event definition has such a field; Graylog itself says no end.
    status="event.fields.status",
    text="join('\n', [[event.message || event_definition_description || ''], "
    "not_null(backlog[:3].message, `[]`)][] | [?@])",
    severity="event.priority == `1` && 'info' || event.priority == `2` && 'warning' "
    "|| event.priority == `3` && 'high' || event.priority == `4` && 'critical' || null",
    labels={"fields": "event.group_by_fields || event.fields", "host": "backlog[0].source"},
    starts_at="event.timestamp",
    id="join(' ', [event_definition_id || event_definition_title, event.key || ''])",
    test="event_definition_id == 'NotificationTestId'",
)
"""Graylog's HTTP notification, from version 3: an event and the messages that led to it."""

APPRISE = BodyMapping(
    shape="version && message && (type == 'failure' || type == 'warning' || type == 'success' || type == 'info')",
    title="title || message",
    text="title && message",
    status="type == 'failure' && 'failed' || type == 'success' && 'success' || null",
    severity="type == 'warning' && 'warning' || null",
    id="title || message",
    test="type == 'info'",
)
"""Apprise's `json://` and `form://`, whose `type` says how it came out; `info` is a message."""

# ---------------------------------------------------------------- what the clouds' own monitoring posts

# The fields are those of their public documentation. Of all three the recovery names the same rule and the same object.

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

# ---------------------------------------------------------------- what builders post of a branch

GITLAB = BodyMapping(
    shape="object_kind && (project.path_with_namespace || project_name || project_id)",
    title="join(' · ', [project.path_with_namespace || project_name || to_string(project_id), "
    "object_kind == 'build' && join(' ', [ref || '', build_name]) || object_kind == 'deployment' && environment "
    "|| object_attributes.ref || ref || object_attributes.source_branch || object_kind])",
    # A pipeline, a job, a deployment; anything else has no outcome.
    status="object_kind == 'pipeline' && object_attributes.status || object_kind == 'build' && build_status "
    "|| object_kind == 'deployment' && status || null",
    text="object_kind == 'pipeline' && join('\n', [commit.title || commit.message || '', "
    "(builds[?status == 'failed' && allow_failure != `true`] && join('', ['✗ ', join(', ', "
    "builds[?status == 'failed' && allow_failure != `true`].name)])) || ''][?@]) "
    "|| object_attributes.title || object_attributes.note || commits[-1].title || commits[-1].message "
    "|| build_failure_reason || commit.message || commit_title",
    labels={
        "project": "project.path_with_namespace || project_name",
        "branch": "object_attributes.ref || ref",
        "user": "user.username || user_username || user_name",
    },
    link="object_attributes.url || (object_kind == 'pipeline' && project.web_url && join('', [project.web_url, "
    "'/-/pipelines/', to_string(object_attributes.id)])) || (object_kind == 'build' && project.web_url && join('', "
    "[project.web_url, '/-/jobs/', to_string(build_id)])) || deployable_url || compare_url || project.web_url "
    "|| repository.homepage",
    # The branch, and not who pushed: a failure and the success after it are of one pipeline.
    id="join(' ', [object_kind, to_string(project.id || project_id || ''), project.path_with_namespace || project_name "
    "|| '', object_attributes.ref || ref || '', build_name || environment || ''])",
    starts_at="object_attributes.status == 'failed' && object_attributes.finished_at || null",
    ends_at="object_attributes.finished_at",
    sender="project.web_url || repository.homepage",
    test="object_kind && object_kind != 'pipeline' && object_kind != 'build' && object_kind != 'deployment'",
)
"""GitLab's webhook ("Webhook events"): what pipelines, jobs and deployments come to; the rest is told as messages."""

SONARQUBE = BodyMapping(
    shape="project.key && (qualityGate || taskId || analysedAt)",
    title="join(' · ', [project.name || project.key, branch.name][?@])",
    # The gate, and where the analysis itself failed there is none.
    status="qualityGate.status == 'ERROR' && 'failed' || qualityGate.status == 'WARN' && 'unstable' "
    "|| qualityGate.status || status",
    text="qualityGate.name || status",
    labels={"project": "project.key", "branch": "branch.name"},
    values="qualityGate.conditions[?status == 'ERROR' || status == 'WARN'] | [:4].{name: metric, value: join('', "
    "[value || '—', ' (', operator == 'LESS_THAN' && '<' || '>', ' ', errorThreshold || warningThreshold || '', ')'])}",
    link="branch.url || project.url || serverUrl",
    id="join(' ', [project.key, branch.name || ''])",
    starts_at="qualityGate.status != 'OK' && analysedAt || null",
    ends_at="analysedAt",
    sender="serverUrl",
)
"""SonarQube's webhook ("Webhooks"): whether a branch passes its quality gate, and what it does not pass by."""

# ---------------------------------------------------------------- all of them

PRESETS: dict[str, BodyMapping] = {
    "uptime-kuma": UPTIME_KUMA,
    "zabbix": ZABBIX,
    "nightingale": NIGHTINGALE,
    "jenkins": JENKINS,
    "github": GITHUB,
    "graylog": GRAYLOG,
    "apprise": APPRISE,
    "aliyun": ALIYUN,
    "tencent": TENCENT,
    "huawei": HUAWEI,
    "gitlab": GITLAB,
    "sonarqube": SONARQUBE,
}
