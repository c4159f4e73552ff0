"""The command line: ``twinml VERB``. One module a verb, imported only when it is called.

To add a verb: write ``twinml/cli/NAME.py`` with a click command called ``command``, and
list it in ``VERBS`` with its one-line help.
"""

from __future__ import annotations

import importlib
from keyword import iskeyword
from typing import Any

import click
from click.shell_completion import CompletionItem

from twinml.cli import _output
from twinml.settings import __version__, quiet_libraries

__all__ = ["VERBS", "Verbs", "main"]

# Order is the order of the help page; the text is shown without importing the module.
VERBS: dict[str, str] = {
    "run": "Run the whole workflow, step by step.",
    "check": "Look at what stands in the way of a run on Azure.",
    "rehearse": "Run the workflow for Azure against an emulator on this machine.",
    "data": "Check, register and fetch data.",
    "train": "Search, ensemble, evaluate and register a model.",
    "import": "Register a model that was made elsewhere.",
    "models": "List registered models and their aliases.",
    "promote": "Make a challenger the champion, on record.",
    "promotions": "Show who promoted which model, when and why.",
    "deploy": "Deploy a registered model to an endpoint.",
    "export": "Write a folder that serves a model elsewhere.",
    "templates": "Write CI pipelines and Bicep for a model's repository.",
    "traffic": "Share out requests among deployments.",
    "keys": "Show or replace the keys of an endpoint.",
    "score": "Score rows with a deployed endpoint.",
    "batch": "Score a large file with a registered model.",
    "swagger": "Print the OpenAPI document of a model or endpoint.",
    "logs": "Print the logs of an endpoint.",
    "metrics": "Show requests, durations and drift of an endpoint.",
    "benchmark": "Measure latency and throughput of an endpoint.",
    "collect": "Keep inputs and outputs of an endpoint, for drift and A/B tests.",
    "feedback": "Record true labels of scored rows, by request id.",
    "drift": "Compare collected traffic with the training rows.",
    "abtest": "Compare two models on labelled rows, or two deployments on live traffic.",
    "probe": "Send out-of-distribution rows and see how predictions move.",
    "compare": "Check that two endpoints predict alike.",
    "pipeline": "Publish, run, watch and schedule pipelines.",
    "replay": "Show the loop of drift, training and promotion on data in time order.",
    "open": "Open the Studio site, started if need be.",
    "studio": "Serve the Studio site: data, jobs, models, endpoints.",
    "evidence": "Take pictures of what was built, with a README.",
    "ui": "Open MLflow's pages on runs and models.",
    "report": "Show the HTML report of a model, or of the last run.",
    "status": "Show what is deployed and running.",
    "start": "Bring back what was stopped.",
    "service": "Have systemd start what is deployed here, and again.",
    "stop": "End what was left running.",
    "delete": "Delete a deployment or an endpoint.",
    "teardown": "Remove what twinml made on Azure, and nothing else.",
}


class Verbs(click.Group):
    """A click group that imports a verb's module only when that verb is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in reading order."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a verb's command, or ``None`` if there is no such verb."""
        if cmd_name not in VERBS:
            return None
        # A module cannot have the name of a keyword.
        module = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command: click.Command = importlib.import_module(f"twinml.cli.{module}").command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; Ctrl-C ends it with exit code 130 and says what is kept."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _output.interrupted(ctx)
        except click.Abort as error:
            # A prompt that was answered with Ctrl-C, and not with "no".
            if isinstance(error.__context__, KeyboardInterrupt):
                _output.interrupted(ctx)
            raise

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the verbs, importing none of them."""
        verbs = [
            CompletionItem(verb, help=text)
            for verb, text in VERBS.items()
            if verb.startswith(incomplete)
        ]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs with their one-line help, importing none of them."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="twinml")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """One workflow, two platforms, one proof: tabular MLOps on this machine and on Azure ML."""
    quiet_libraries()
