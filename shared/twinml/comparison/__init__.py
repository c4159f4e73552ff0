"""Do two endpoints predict alike? The same rows to both, and every difference explained.

::

    _adversarial  rows that two servers are likely to read differently
    _answers      what an endpoint, or the model in this process, answers to rows
    parsing       what rows become when the server reads them with pandas.read_json
    _environment  the packages of two sides, one beside the other
    _judgement    where the sides differ, and why; values in, values out
    sides         both are asked, and the model itself
    _model        an endpoint against the model that it should serve
    _page         the outcome as an HTML page with pictures
"""

from twinml.comparison._adversarial import Case, cases
from twinml.comparison._answers import Answers, Reference, Refusal, ask, latencies, recalculate
from twinml.comparison._environment import Package, differing, installed, pinned
from twinml.comparison._judgement import CAUSES, Comparison, Difference, Side, judge
from twinml.comparison._model import against_model, own_answers
from twinml.comparison._page import write

__all__ = [
    "CAUSES",
    "Answers",
    "Case",
    "Comparison",
    "Difference",
    "Package",
    "Reference",
    "Refusal",
    "Side",
    "against_model",
    "ask",
    "cases",
    "differing",
    "installed",
    "judge",
    "latencies",
    "own_answers",
    "pinned",
    "recalculate",
    "write",
]
