"""What reading clips costs: engines, peers and the decode-only limit in one run, on generated or the user's clips."""

from vidtok.data.bench.report import SCHEMA, Report, document, recommend
from vidtok.data.bench.run import BenchOptions, bench_data

__all__ = ["SCHEMA", "BenchOptions", "Report", "bench_data", "document", "recommend"]
