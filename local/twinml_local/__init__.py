"""The platform that is this machine: data assets, registry, endpoints, telemetry and jobs."""
