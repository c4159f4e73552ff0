"""Scores rows. Needs Python 3 alone, and TWINML_URL and TWINML_KEY in the environment."""

import json
import os
import urllib.request

rows = [
    {
        'age': 58,
        'job': 'management',
        'marital': 'married',
        'education': 'tertiary',
        'default': 'no',
        'balance': 2143,
        'housing': 'yes',
        'loan': 'no',
        'contact': 'unknown',
        'day': 5,
        'month': 'may',
        'duration': 261,
        'campaign': 1,
        'pdays': -1,
        'previous': 0,
        'poutcome': 'unknown',
    },
    {
        'age': 59,
        'job': 'admin.',
        'marital': 'married',
        'education': 'secondary',
        'default': 'no',
        'balance': 2343,
        'housing': 'yes',
        'loan': 'no',
        'contact': 'unknown',
        'day': 5,
        'month': 'may',
        'duration': 1042,
        'campaign': 1,
        'pdays': -1,
        'previous': 0,
        'poutcome': 'unknown',
    },
]
columns = list(rows[0])
body = {"input_data": {"columns": columns, "data": [list(row.values()) for row in rows]}}
request = urllib.request.Request(
    os.environ["TWINML_URL"],
    json.dumps(body).encode(),
    {
        "Content-Type": "application/json",
        "Authorization": "Bearer " + os.environ["TWINML_KEY"],
    },
)
with urllib.request.urlopen(request, timeout=60) as response:
    print(json.load(response))
