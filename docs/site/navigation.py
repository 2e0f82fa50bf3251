"""What stands where in the site's navigation. A page that is in none of it fails the build."""

from __future__ import annotations

#: part -> title in the navigation -> page
PARTS: dict[str, dict[str, str]] = {
    "Start": {"Quick start": "index", "From your vLLM command to a decision": "tutorial"},
    "Concepts": {
        "Architecture": "architecture",
        "Time and components": "coupling",
        "Components that ask one another": "ports",
        "Engines": "engines",
        "Networks": "network",
        "Memory beside the devices": "memory",
        "Memory that computes": "pim",
        "Power and energy": "power",
        "Failures and scaling": "availability",
        "Glossary": "glossary",
        "Decisions": "decisions/README",
    },
    "How to": {
        "Bring your server's command line": "importing",
        "Describe a workload": "workload",
        "Choose models and devices": "models",
        "Couple a simulator in fifteen minutes": "adapters",
        "Find out why a request was slow": "debugging",
        "See it in a browser": "view",
        "Validate against your own cluster": "calibrate",
        "Find capacity and the cheapest cluster": "exploration",
        "Use it from Python": "python",
        "Run components in containers": "containers",
        "Contribute": "contributing",
        "Make a release": "releasing",
    },
    "Reference": {
        "The scenario file": "scenario",
        "Every field": "reference/fields",
        "Command line": "reference/cli",
        "Wire contract": "reference/wire",
        "Component models": "reference/components",
        "Catalog": "reference/catalog",
        "Results": "results",
        "Changelog": "changelog",
    },
    "How far to trust it": {
        "Accuracy": "accuracy",
        "The scheduler against vLLM's": "truth",
        "Failures of a run": "reliability",
        "What a run costs": "performance",
    },
}


#: below the page of decisions, in their order
DECISIONS = "\n\n```{toctree}\n:hidden:\n:glob:\n\n0*\n```\n"


def toctrees() -> str:
    """The navigation as Sphinx reads it at the end of the first page."""
    blocks = []
    for part, pages in PARTS.items():
        entries = [f"{title} <{'self' if page == 'index' else page}>" for title, page in pages.items()]
        blocks.append("\n".join(["```{toctree}", ":hidden:", f":caption: {part}", "", *entries, "```"]))
    return "\n\n" + "\n\n".join(blocks) + "\n"
