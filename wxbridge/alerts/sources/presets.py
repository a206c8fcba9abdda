"""Mappings that ship: what `/hooks/generic/NAME` reads without any configuration.

A mapping of the same name in jobs.yaml comes first.
"""

from __future__ import annotations

from wxbridge.alerts.sources.build_presets import BUILDS
from wxbridge.alerts.sources.cloud_presets import CLOUDS
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

PRESETS: dict[str, BodyMapping] = {
    "uptime-kuma": UPTIME_KUMA,
    "zabbix": ZABBIX,
    "nightingale": NIGHTINGALE,
    "jenkins": JENKINS,
    "github": GITHUB,
    "graylog": GRAYLOG,
    "apprise": APPRISE,
    **CLOUDS,
    **BUILDS,
}
