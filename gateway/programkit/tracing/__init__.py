"""Traces across processes: W3C Trace Context, the ids in log lines, and spans for OpenTelemetry if it is installed."""
