"""Health: probes, readiness, and an announced shutdown."""
