"""Put the tables of settings, policies, metrics and HTTP routes into docs/, between their markers, and write
docs/openapi.json; --check: say whether they fit.

    python scripts/update_docs.py

All is read from the code: the settings' and the policy's fields, the presets, what a gateway exports, and the faults
of `collage chaos`, whose figures are those of results/chaos.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from _markers import replace_marked
from prometheus_client.parser import text_string_to_metric_families
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from collage.bench.chaos import FAULTS
from collage.bench.chaos.fuzz import GIVEN
from collage.bench.gateway import Costs
from collage.dispatch import PRESETS, Policy
from collage.serving import DataPlane, ServingSettings, load_settings
from collage.serving._http_gate import Gate
from collage.serving._metrics import Metrics
from collage.serving._model_settings import ModelSettings
from collage.serving._models import Models
from collage.serving._openapi import openapi
from collage.serving.safety import Guard, TenantSettings

DOCS = Path(__file__).resolve().parent.parent / "docs"
LABELS = {  # of families that have no series before something has happened
    "collage_query_latency_seconds": "source",
    "collage_answers": "source",
    "collage_jobs_started": "source",
    "collage_jobs_failed": "source",
    "collage_http_responses": "route, status",
    "collage_queries_rejected": "model, why",
    "collage_worker_state": "worker, state",
    "collage_worker_jobs": "worker",
    "collage_worker_speed": "worker",
    "collage_worker_jobs_done": "worker",
    "collage_worker_jobs_failed": "worker",
    "collage_tenant_queries": "tenant",
    "collage_tenant_queries_in_flight": "tenant",
    "collage_tenant_limited": "tenant, limit",
    "collage_requests_denied": "why",
    "collage_build": "version, python",
    "collage_model": "single, digest, backup, policy",
    "collage_grpc_calls": "method, code",
}
OF_THE_GATEWAY = {
    "collage_build_info",
    "collage_build",
    "collage_grpc_calls",
    "collage_http_body_bytes",
    "collage_http_requests_inside",
    "collage_http_responses",
    "collage_log_lines_lost",
    "collage_queries_rejected",
    "collage_ready",
    "collage_requests_denied",
    "collage_tenant_limited",
    "collage_tenant_queries",
    "collage_tenant_queries_in_flight",
    "collage_trace_spans_made",
    "collage_trace_spans_sent",
}  # all others are of one version of a model


def main(check: bool) -> int:
    """0 where docs/ is up to date, or has been made so."""
    stale = []
    tables = {
        "operate.md": {"settings": _fields(ServingSettings), "metrics": _metrics()},
        "servers.md": {"model": _fields(ModelSettings)},
        "security.md": {"tenant": _fields(TenantSettings)},
        "policies.md": {"presets": _presets(), "policy": _fields(Policy)},
        "http.md": {"routes": _routes()},
        "openapi.json": {},
        "gateway.md": {"gateway": _gateway(), "gateway-costs": _gateway_costs()},
        "dashboard.md": {"cost": _page_cost()},
        "faults.md": {"faults": _faults(), "fuzz": _fuzz()},
    }
    for name, parts in tables.items():
        path = DOCS / name
        text = wanted = path.read_text("utf-8") if path.exists() else ""
        for marker, table in parts.items():
            wanted = replace_marked(wanted, marker, table, f"docs/{name}")
        if name == "openapi.json":
            wanted = json.dumps(openapi(load_settings()), indent=1) + "\n"
        if wanted != text:
            stale.append(name)
            if not check:
                path.write_text(wanted, "utf-8")
    if stale and check:
        print(f"docs/{', '.join(stale)}: not as the code says; run scripts/update_docs.py")  # noqa: T201
        return 1
    return 0


def _fields(model: Any) -> str:
    lines = ["| setting | default | what |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        lines.append(f"| `{name}` | {_default(field)} | {field.description}{_range(field)} |")
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined or value in (None, {}, ()):
        return ""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 2**20 and value % 2**20 == 0:
        return f"{value // 2**20} MiB"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"


def _range(field: FieldInfo) -> str:
    """From what to what, where both are said."""

    def found(*words: str) -> tuple[str, float] | None:
        pairs = (
            (word, getattr(part, name, None)) for word, name in (w.split() for w in words) for part in field.metadata
        )
        return next(((word, float(value)) for word, value in pairs if value is not None), None)

    low, high = found("from ge", "above gt"), found("to le", "below lt")
    if low is None or high is None or high[1] >= 100_000:
        return ""
    return f" ({low[0]} {low[1]:g} {high[0]} {high[1]:g})"


def _presets() -> str:
    lines = ["| policy | a backup is | wanted | accepted | second line | budget |", "|---|---|---|---|---|---|"]
    for name, policy in PRESETS.items():
        if policy.code is None:
            lines.append(f"| `{name}` | nothing |  |  |  |  |")
            continue
        wanted = {
            "at_once": "at once",
            "late": f"after the {policy.late_quantile:.0%} quantile of singles' times",
            "in_time": "so that it is there as patience ends, if the budget lasts",
        }[policy.trigger]
        accepted = "the first answer" if policy.accept == "first" else "after patience"
        if policy.unsure_quantile is not None:
            accepted += f"; an unsure one after the {policy.unsure_quantile:.0%} quantile"
        second = "yes" if policy.second_line else "no"
        code = " or ".join(dict.fromkeys((policy.code, *policy.among)))
        code += f", {policy.dedicated} worker for them alone" if policy.dedicated else ""
        lines.append(f"| `{name}` | {code} | {wanted} | {accepted} | {second} | {policy.budget:.0%} |")
    return "\n".join(lines) + "\n"


def _chaos() -> dict[str, Any]:
    path = DOCS.parent / "results" / "chaos.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def _faults() -> str:
    rows = {row["fault"]: row for row in _chaos().get("faults", ())}
    lines = [
        "| fault | what is done | clients see | the operator sees "
        "| queries | lost, double, swapped | p99 before, during | normal after |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, fault in FAULTS.items():
        lines.append(f"| `{name}` | {fault.what} | {fault.clients} | {fault.operator} |{_measured(rows.get(name))}")
    return "\n".join(lines) + "\n"


def _fuzz() -> str:
    found = _chaos().get("fuzz", {})
    lines = [
        "| target | what it is given | inputs | taken | 5xx, but for honest ones | crashes | hangs | escaped errors |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, what in GIVEN.items():
        row = found.get("targets", {}).get(name)
        keys = ("inputs", "accepted", "server_errors", "crashes", "hangs", "escaped")
        counts = " | ".join("" if row is None else f"{row[key]:,}" for key in keys)
        lines.append(f"| `{name}` | {what} | {counts} |")
    if found:
        taken = sum(row["accepted"] for row in found["targets"].values())
        harm = " | ".join(f"{found[key]:,}" for key in ("server_errors", "crashes", "hangs", "escaped"))
        lines.append(f"| all |  | {found['inputs']:,} | {taken:,} | {harm} |")
        lines += [
            "",
            f"{found['unavailable']:,} live inputs were told honestly that there is no answer now or in time (503, 504,"
            f" or gRPC's words for them); {found['undescribed']:,} got a status that `/openapi.json` does not have; the"
            f" gateway logged {found['tracebacks']:,} tracebacks. Meanwhile {found['neighbours']:,} other queries were"
            f" sent, and {found['wrong_neighbours']:,} not answered rightly. Resident memory grew by at most"
            f" {found['memory_growth'] / 2**20:.1f} MiB.",
        ]
    return "\n".join(lines) + "\n"


def _page_cost() -> str:
    found = json.loads((DOCS.parent / "results" / "dashboard-cost.json").read_text("utf-8"))
    cpu, page, given = found["gateway_cpu_ms_a_second"], found["page_cpu_ms_a_second"], found["conditions"]
    lines = ["| pages open | CPU time of the gateway's process, ms a second | of it for each page |", "|---|---|---|"]
    for pages, used in cpu.items():
        one = page.get(pages)
        each = "" if one is None else f"{one['median']} ({one['least']} to {one['most']})"
        lines.append(f"| {pages} | {used} | {each} |")
    kept = found["keeping"]
    lines += [
        "",
        f"One page costs {found['page_over_queries']:.0%} of what {given['queries_a_second']:g} queries a second cost"
        f" the gateway's process. Medians, with the least and the most of {given['rounds']} rounds of"
        f" {given['seconds']:g} s that took turns, on {given['cores']} cores with a load average of"
        f" {given['load_average']}: other work made most of the spread. 4 workers held each job for 20 ms; the shipped"
        " models; a script asked what a page asks. To keep the history and the stories, whether anybody looks or not,"
        f" takes {kept['microseconds_a_query']} us a query and {kept['milliseconds_an_interval']} ms every 5 s.",
        "`python scripts/dashboard_cost.py --rounds 8 --out results/dashboard-cost.json` measures it anew.",
    ]
    return "\n".join(lines) + "\n"


def _measured(row: dict[str, Any] | None) -> str:
    if row is None:
        return "  |  |  |  |"
    during, after = row["p99_during"], row["recovered_after_s"]
    return (
        f" {row['requests']} | {row['lost']}, {row['double']}, {row['swapped']} | {row['p99_before'] * 1e3:.0f} ms,"
        f" {'-' if during is None else f'{during * 1e3:.0f} ms'} | {'-' if after is None else f'{after:.1f} s'} |"
    )


def _gateway() -> str:
    rows, conditions = _gateway_results()
    if not rows:
        return "Nothing yet: these are to be measured on a quiet machine.\n"
    lines = [
        "| model | server | queries/s (least to most) | p50, p99 at half load, ms | CPU us/query | gateway us/query |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        cpu, own = ("" if row[name] is None else round(row[name]) for name in ("server_us", "process_us"))
        lines.append(
            f"| {row['model']} | {row['server']} {row['version']} | {row['rps']:,.0f}"
            f" ({row['rps_low']:,.0f} to {row['rps_high']:,.0f}) | {row['p50_ms']:.3g}, {row['p99_ms']:.3g}"
            f" | {cpu} | {own} |"
        )
    lines += ["", "| asked for | found | |", "|---|---:|---|"]
    lines += [
        f"| {v['asked']} | {v['found']} | {'met' if v['met'] else '**not met**'} |" for v in conditions["verdicts"]
    ]
    machine = conditions["machine"]
    made = f"{machine['cores']} cores, {machine['architecture']}, {machine['system']}, Python {machine['python']}"
    return "\n".join([*lines, "", f"`{conditions['command']}`; {made}; {rows[0]['rounds']} rounds."]) + "\n"


def _gateway_costs() -> str:
    costs = _gateway_results()[1].get("per_query_us") or {}
    if not costs:
        return "Nothing yet.\n"
    lines = ["| part | microseconds a query | what |", "|---|---:|---|"]
    for name, field in Costs.model_fields.items():
        lines.append(f"| {name.replace('_', ', ')} | {costs[name]:.1f} | {field.description} |")
    return "\n".join(lines) + "\n"


def _gateway_results() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    rows, conditions = (DOCS.parent / "results" / name for name in ("gateway.json", "gateway/conditions.json"))
    if not rows.is_file():
        return [], {}
    return json.loads(rows.read_text("utf-8")), json.loads(conditions.read_text("utf-8"))


def _metrics() -> str:
    settings = load_settings()
    text = Metrics(Models(settings, DataPlane(settings)), Gate(1), Guard(settings)).render().decode()
    lines = ["| metric | labels | what |", "|---|---|---|"]
    for family in sorted(text_string_to_metric_families(text), key=lambda family: family.name):
        ends = {"counter": "_total", "info": "_info"}.get(family.type, "")
        if family.name.endswith(("_created", "_info_info")):
            continue
        shown = f"{family.name}{'' if family.name.endswith(ends) else ends}"
        labels = LABELS.get(family.name.removesuffix("_info"), "")
        if family.name not in OF_THE_GATEWAY:
            labels = f"model, version{', ' if labels else ''}{labels}"
        lines.append(f"| `{shown}` ({family.type}) | {labels} | {family.documentation} |")
    return "\n".join(lines) + "\n"


def _routes() -> str:
    lines = ["| route | what | refusals |", "|---|---|---|"]
    for path, methods in openapi(load_settings())["paths"].items():
        for method, operation in methods.items():
            refusals = ", ".join(status for status in operation["responses"] if status != "200")
            lines.append(f"| `{method.upper()} {path}` | {operation['summary']} | {refusals} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
