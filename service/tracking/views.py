"""The saved view of a study: columns and charts that MLflow opens ready-made.

MLflow keeps shared views as experiment tags in a format it does not document: compressed JSON of
its page's state. If a later version no longer reads it, the page falls back to its own charts.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

from service.contract.study import StudyDefinition

#: Keys under which workers store sample pictures: the tile of LR, bicubic, SR, HR, and SR alone.
TILE_KEY, SR_KEY = "sample/{}/tile", "sample/{}/sr"

_KEY = "srtune-overview"
_LINE: dict[str, Any] = {
    "lineSmoothness": 0,
    "xAxisScaleType": "linear",
    "scaleType": "linear",
    "range": {},
    "xAxisKey": "step",
    "selectedXAxisMetricKey": "",
    "yAxisKey": "metric",
    "yAxisExpressions": [],
    "ignoreOutliers": False,
    "useGlobalXaxisKey": True,
    "useGlobalLineSmoothing": True,
}


def view_link(experiment_id: str) -> str:
    """Where the view opens, relative to MLflow's page."""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={_KEY}&compareRunsMode=CHART"


def view_tag(definition: StudyDefinition, *, created_ms: int) -> dict[str, str]:
    """The experiment tag that makes the view; the same definition gives the same bytes."""
    state = json.dumps(_state(definition), separators=(",", ":")).encode()
    packed = base64.b64encode(zlib.compress(state, 9)).decode()
    view = {
        "name": "Study overview",
        "createdAt": created_ms,
        "updatedAt": created_ms,
        "state": f"deflate;{packed}",
    }
    return {f"mlflow.sharedViewState.{_KEY}": json.dumps(view)}


class _Charts:
    """Sections and charts in order, with ids that follow from the order."""

    def __init__(self) -> None:
        self.sections: list[dict[str, Any]] = []
        self.charts: list[dict[str, Any]] = []

    def section(self, name: str) -> None:
        self.sections.append(
            {
                "uuid": f"srt-section-{len(self.sections)}",
                "name": name,
                "display": True,
                "isReordered": True,
                "deleted": False,
                "isGenerated": False,
            }
        )

    def chart(self, kind: str, *, runs: int = 20, **options: Any) -> None:
        self.charts.append(
            {
                "uuid": f"srt-chart-{len(self.charts)}",
                "type": kind,
                "runsCountToCompare": runs,
                "metricSectionId": self.sections[-1]["uuid"],
                "deleted": False,
                "isGenerated": False,
            }
            | options
        )

    def line(self, *metrics: str, name: str) -> None:
        self.chart(
            "LINE",
            metricKey=metrics[0],
            selectedMetricKeys=list(metrics),
            displayName=name,
            **_LINE,
        )


def _state(definition: StudyDefinition) -> dict[str, Any]:
    terms = [term.key for term in definition.losses]
    results = [f"result/{name}" for name in (*definition.objectives, *definition.metrics)]
    charts = _overview(definition, terms)
    columns = [f"metrics.`{name}`" for name in (*results, "result/train_seconds")]
    columns += [f"params.`w.{term}`" for term in terms]
    columns += [f"params.`s.{term}`" for term in terms]
    return {
        "searchFilter": "tags.`srt.kind` != 'study' AND tags.`srt.kind` != 'start'",
        "orderByKey": f"metrics.`{results[0]}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [*columns, "tags.`srt.origin`", "tags.`srt.state`", "tags.`srt.worker`"],
        "columnOrder": [],
        "columnWidths": {},
        "runsHiddenMode": "FIRST_20_RUNS",
        "autoRefreshEnabled": True,
        "compareRunCharts": charts.charts,
        "compareRunSections": charts.sections,
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {
            "xAxisKey": "step",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
        },
    }


def _overview(definition: StudyDefinition, terms: list[str]) -> _Charts:
    charts = _Charts()
    objectives = [f"result/{name}" for name in definition.objectives]
    charts.section("1 · Results")
    if len(objectives) > 1:
        first, second = objectives[:2]
        charts.chart(
            "SCATTER",
            runs=100,
            displayName=f"Front: {definition.objectives[0]} against {definition.objectives[1]}",
            xaxis={"key": first, "type": "METRIC"},
            yaxis={"key": second, "type": "METRIC"},
        )
    charts.chart(
        "PARALLEL",
        runs=100,
        displayName="Shares and scores",
        selectedParams=[f"s.{term}" for term in terms],
        selectedMetrics=objectives,
        showAllRuns=True,
    )
    charts.chart(
        "PARALLEL",
        runs=100,
        displayName="Weights (log10) and scores",
        selectedParams=[f"w.{term}.log10" for term in terms],
        selectedMetrics=objectives,
        showAllRuns=True,
    )
    for name in objectives:
        charts.chart("BAR", metricKey=name, displayName=name)
    charts.section("2 · Validation")
    for name in (*definition.objectives, *definition.metrics):
        charts.line(f"val/{name}", name=f"val/{name}")
    charts.section("3 · Pictures")
    for key in (TILE_KEY, SR_KEY):
        charts.chart(
            "IMAGE",
            runs=10,
            displayName="LR, bicubic, SR, HR" if key == TILE_KEY else "SR",
            imageKeys=[key.format(0)],
            step=definition.training.steps,
            showRunParams=False,
        )
    charts.section("4 · Gradient shares")
    for term in terms:
        charts.line(f"share/{term}", name=f"share/{term}")
    charts.section("5 · Losses")
    for term in ("total", *terms):
        charts.line(f"loss/{term}", name=f"loss/{term}")
    return charts
