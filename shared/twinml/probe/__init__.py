"""Rows that training never saw, and what a model makes of them.

::

    whole            all of it at once
    run              sends the rows and judges the answers
    perturbations    the rows: real ones with one feature moved
    unseen_pairs     values that training never saw together
    response_curves  the probability along one feature
    neighbours       the training rows that are most like a row
    page             all of it as an HTML page
"""
