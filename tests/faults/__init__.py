"""Faults on purpose: each case breaks something while a job runs, and a checker outside says what became of it.

kit.py       a scene: a fleet, its client, what was accepted, what crashed
checker.py   the promises, checked against results, job record, workers' logs and the provider's own record
figures.py   what a case measured, and the table of docs/reliability.md
kill_points.py  loaded in a worker: it dies at the n-th passing of a place in the code
"""
