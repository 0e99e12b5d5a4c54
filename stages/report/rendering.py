"""Templates made into pages."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from stages.report.charts import variables


def render(template: str, **values: Any) -> str:
    """A page of `templates/`, with the colours of charts; the filter `percent` writes a share."""
    environment = Environment(
        loader=PackageLoader("stages.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["percent"] = lambda share: "–" if share != share else f"{100 * share:.1f} %"
    return environment.get_template(template).render(colours=variables(), **values)
