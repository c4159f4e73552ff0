"""Scores rows. Needs Python 3 alone, and TWINML_URL and TWINML_KEY in the environment."""

import json
import os
import urllib.request

rows = [
    {
        'age': 56,
        'job': 'admin.',
        'marital': 'divorced',
        'education': 'primary',
        'default': 'no',
        'balance': 47054,
        'housing': 'no',
        'loan': 'no',
        'contact': 'cellular',
        'day': 16,
        'month': 'apr',
        'duration': 2459,
        'campaign': 32,
        'pdays': 435,
        'previous': 137,
        'poutcome': 'failure',
    },
    {
        'age': 48,
        'job': 'blue-collar',
        'marital': 'married',
        'education': 'secondary',
        'default': 'yes',
        'balance': 36039,
        'housing': 'yes',
        'loan': 'yes',
        'contact': 'telephone',
        'day': 13,
        'month': 'aug',
        'duration': 1967,
        'campaign': 25,
        'pdays': 347,
        'previous': 110,
        'poutcome': 'other',
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
