"""A/B tests: which of two models or deployments is better, and whether that is more than chance.

::

    offline     two models on the same labelled rows
    _paired     its statistics: McNemar, DeLong, paired bootstrap
    online      two deployments on the requests that came, judged while they come
    sequential  its statistics: intervals, p-values and sample sizes valid at every look
    _guardrail  failures and latency, which a better model must not worsen
    sample_size how many requests an online test needs
    labelled    a file's rows, scored by models or by deployments
    collected   traffic, labels and telemetry, put together
    page        both as HTML pages
"""
