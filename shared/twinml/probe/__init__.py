"""Rows that training never saw, and what a model makes of them.

::

    whole            all of it at once
    run              sends the rows and judges the answers
    _perturbations   the rows: real ones with one feature moved
    _unseen_pairs    values that training never saw together
    _response_curves the probability along one feature
    _neighbours      the training rows that are most like a row
    _page            all of it as an HTML page
"""
