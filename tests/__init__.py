"""The specification of Gaugeline, as tests. (This file keeps `tests/agent` from shadowing `agent`.)"""
