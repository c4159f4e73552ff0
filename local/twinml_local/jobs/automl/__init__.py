"""AutoML tasks of Azure ML's kind, executed by twinml's training.

::

    task       what a job or a node asks for, in the words of the training; pure
    search     runs a task as a process of its own
    worker     that process: trains, and leaves a folder for each child
    mltable    the tables that it reads
"""
