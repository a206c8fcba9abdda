"""`template render`: try what a template makes of a sample alert."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Annotated

import typer

from wxbridge.alerts.template_folder import TemplateError
from wxbridge.alerts.templates import Templates
from wxbridge.cli.common import (
    FAILED,
    WRONG_USAGE,
    ConfigOption,
    config_path,
    fail,
    is_resolved,
    plain,
    read_config,
    say,
)
from wxbridge.cli.help_texts import CommandSet
from wxbridge.cli.reader import reader_language
from wxbridge.core.errors import BadBody, ConfigError
from wxbridge.core.model import AlertGroup
from wxbridge.core.text.i18n import LANGUAGES, Language

app = CommandSet(no_args_is_help=True)


DEFAULT_SAMPLE = "grafana-unified"


@app.callback()
def _templates() -> None:
    """Templates of what people read."""


@app.command()
def render(
    file: Annotated[str, typer.Argument(metavar="FILE")],
    sample: Annotated[str | None, typer.Option(show_default=DEFAULT_SAMPLE)] = None,
    status: str = "firing",
    body: Annotated[Path | None, typer.Option("--file")] = None,
    language: str | None = None,
    target: str = "ops",
    config: ConfigOption = None,
) -> None:
    """Print what a template makes of a sample alert. Works without a configuration file."""
    if language not in (None, *LANGUAGES):
        raise fail(f"there is no language {language!r}; there are {', '.join(LANGUAGES)}", WRONG_USAGE)
    folder, configured, timezone = _settings(config)
    chosen = language or configured
    path = Path(file)
    if path.is_file():
        folder, name = path.parent, path.name
    else:
        name = file
    templates = Templates(folder, chosen, timezone)
    if templates.find(name) is None:
        raise fail(f"there is no file {file}, and no template of that name in {folder}", WRONG_USAGE)
    group = _group(sample, resolved=is_resolved(status), file=body)
    try:
        text = templates.renderer.render(name, group, target, datetime.now(UTC))
    except TemplateError as error:
        raise fail(plain(str(error)), FAILED) from None
    print(plain(text))  # noqa: T201


def _settings(config: Path | None) -> tuple[Path, Language, tzinfo]:
    """The folder, language and time zone: those of the configuration, where there is one that can be read."""
    if config is None and not config_path(None).exists():
        return Path("templates"), reader_language(), UTC
    try:
        settings = read_config(config)
    except ConfigError as error:
        if config is not None:
            raise
        say(f"{config_path(None)} is not used, as it cannot be read: {error.problems[0]}")
        return Path("templates"), reader_language(), UTC
    return settings.templates, settings.language, settings.timezone


def _group(sample: str | None, *, resolved: bool, file: Path | None) -> AlertGroup:
    """What to fill the template with: a sample, or a body that somebody wrote down."""
    from wxbridge import registry
    from wxbridge.cli import sample_alerts

    if sample is not None and sample not in sample_alerts.SAMPLES:
        raise fail(f"there is no sample {sample!r}; there are {', '.join(sample_alerts.SAMPLES)}", WRONG_USAGE)
    try:
        if file is None:
            return sample_alerts.SAMPLES[sample or DEFAULT_SAMPLE].parse(resolved=resolved)
        hook = sample_alerts.SAMPLES[sample].hook if sample else "generic"
        return registry.SourceTable({})[hook](file.read_bytes(), {})
    except OSError as error:
        raise fail(f"{file} cannot be read: {error.strerror}", WRONG_USAGE) from None
    except BadBody as error:
        raise fail(f"{file or sample} cannot be read: {error}") from None
