"""Invokes verbs of twinml one after the other, and prints what each of them said.

Run: ``python consume_session.py '{"NAME": ["VERB", "OPTION", …], …}'``.
"""

import json
import sys

from click.testing import CliRunner

from twinml.cli import main

said = {}
for name, words in json.loads(sys.argv[1]).items():
    done = CliRunner().invoke(main, [*words, "--json"])
    said[name] = {"code": done.exit_code, "stdout": done.stdout, "stderr": done.stderr}
sys.stdout.write(json.dumps(said))
