#!/usr/bin/env python3
"""What the metrics of each folder reached in all, by name: the numbers that stored differences must
add up to. Read with OpenTelemetry's own protobuf classes. Usage: count.py (writes metrics.json)."""

import glob
import json
import os

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

here = os.path.dirname(os.path.abspath(__file__))
totals = {}
for folder in sorted(glob.glob(here + "/*/")):
    last = {}
    for file in sorted(glob.glob(folder + "*v1_metrics.body.bin")):
        request = ExportMetricsServiceRequest.FromString(open(file, "rb").read())
        for resource in request.resource_metrics:
            sender = resource.resource.SerializeToString(deterministic=True)
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    kind = metric.WhichOneof("data")
                    for point in getattr(metric, kind).data_points:
                        attributes = tuple(sorted(a.SerializeToString(deterministic=True) for a in point.attributes))
                        key = (sender, scope.scope.name, metric.name, attributes, point.start_time_unix_nano)
                        value = (point.count, point.sum) if kind == "histogram" else (point.as_double or point.as_int,)
                        last[key] = max(last.get(key, value), value)
    by_name = {}
    for key, value in last.items():
        known = by_name.setdefault(key[2], [0.0] * len(value))
        by_name[key[2]] = [a + b for a, b in zip(known, value)]
    if by_name:
        totals[os.path.basename(folder[:-1])] = by_name
json.dump(totals, open(here + "/metrics.json", "w"), indent=1, sort_keys=True)
