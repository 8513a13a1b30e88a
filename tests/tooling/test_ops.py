"""The dashboard, the alerts and the scrape example ask for nothing that the venue does not export."""

import json
import re

import pytest
import yaml
from prometheus_client import Counter, Gauge, Histogram

from exchange import sequencer  # noqa: F401  who measures the stages names them when imported
from exchange.streams import feeds  # noqa: F401
from marketdata import metrics
from tests.tooling.support import ROOT

OPS = ROOT / "ops"
OURS = [metric for metric in vars(metrics).values() if isinstance(metric, Counter | Gauge | Histogram)]
SUFFIXES = {
    Counter: [("_total", ())],
    Gauge: [("", ())],
    Histogram: [("_bucket", ("le",)), ("_sum", ()), ("_count", ())],
}
#: name of a sample: the labels that it has, beside those of the target that it was scraped from
EXPORTED = {
    metric._name + suffix: {*metric._labelnames, *own, "instance", "job"}
    for metric in OURS
    for suffix, own in SUFFIXES[type(metric)]
} | {"up": {"instance", "job"}}

SAMPLE = re.compile(r"\b(venue_\w+|up)\b(?:\{([^}]*)\})?")
GROUPED = re.compile(r"\bby \(([^)]*)\)")


def dashboard() -> dict:
    return json.loads((OPS / "grafana-venue.json").read_text())


def panels() -> list[tuple[str, str]]:
    return [(panel["title"], target["expr"]) for panel in dashboard()["panels"] for target in panel["targets"]]


def alerts() -> list[tuple[str, str]]:
    (group,) = yaml.safe_load((OPS / "alerts.yml").read_text())["groups"]
    return [(rule["alert"], rule["expr"]) for rule in group["rules"]]


@pytest.mark.parametrize(("title", "expression"), [*panels(), *alerts()])
def test_every_expression_asks_for_what_is_exported(title, expression):
    samples = SAMPLE.findall(expression)
    assert samples
    for name, matchers in samples:
        assert name in EXPORTED, f"{title} asks for {name}"
        asked = set(re.findall(r"(\w+)\s*[=!]", matchers))
        asked |= {label.strip() for labels in GROUPED.findall(expression) for label in labels.split(",")}
        assert asked <= EXPORTED[name], f"{title} asks {name} for {asked - EXPORTED[name]}"
    assert expression.count("(") == expression.count(")")


def test_every_metric_is_on_the_dashboard():
    shown = {name for _, expression in panels() for name, _ in SAMPLE.findall(expression)}
    missing = [metric._name for metric in OURS if not any(name.startswith(metric._name) for name in shown)]
    assert missing == []


def test_stages_in_the_alerts_are_stages_that_are_measured():
    stages = {stage for _, expression in alerts() for stage in re.findall(r'stage="(\w+)"', expression)}
    measured = {labels[0] for metric in (metrics.BATCH_SECONDS, metrics.LAG_SECONDS) for labels in metric._metrics}
    assert stages <= measured and stages


def test_panels_do_not_overlap_and_legends_name_labels_that_are_there():
    taken = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
        for target in panel["targets"]:
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            grouped = {one.strip() for labels in GROUPED.findall(target["expr"]) for one in labels.split(",")}
            assert named <= grouped, panel["title"]


def test_the_scrape_example_names_the_route_and_the_rules():
    example = yaml.safe_load((OPS / "prometheus.yml").read_text())
    (job,) = example["scrape_configs"]
    assert (job["job_name"], job["metrics_path"]) == ("venue", "/metrics")
    assert [(OPS / name).is_file() for name in example["rule_files"]] == [True]
