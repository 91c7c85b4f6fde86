"""The gate: measurements that decide whether an environment id is a benchmark.

An id passes if its optimum lies far above the best control, a learner closes half of that distance, stock algorithms
differ, a run is short, and the distance remains at other lengths; `judgement` states the five lines.
"""
