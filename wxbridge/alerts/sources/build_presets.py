"""Mappings of what builders post of a branch: GitLab and SonarQube."""

from __future__ import annotations

from wxbridge.config.hooks import BodyMapping

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

BUILDS: dict[str, BodyMapping] = {"gitlab": GITLAB, "sonarqube": SONARQUBE}
