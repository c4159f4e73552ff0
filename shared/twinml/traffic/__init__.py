"""What endpoints were asked, what they answered, and what turned out to be true.

::

    collected  inputs and outputs, read from Azure ML's layout
    feedback   true labels that came later
    metrics    requests, failures, durations, strange values
    log_entries  lines of a log, put together
"""
